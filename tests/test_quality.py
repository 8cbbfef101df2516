"""Sample quality on models whose samples are known: the real distribution, copies, one class, noise."""

import hashlib
import json
import math
import warnings

import pytest
import torch

from imprior import face
from imprior.data.batches import Images
from imprior.errors import CapabilityError, DataError, RunError
from imprior.face.quality import quality as measure
from imprior.metrics.inception import Inception
from imprior.models import classifier
from imprior.nn.dense import Dense
from imprior.objectives.classification import Classification
from imprior.parts import Batch
from imprior.tasks import quality
from toys import TOYS, BernoulliVae, Brightness, Identity


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def light(n, seed=0, classes=None):
    """Dark images (class 0) and bright ones (class 1), 8-bit: each pixel within a quarter of its class's half."""
    g = rng(seed)
    labels = torch.randint(2, (n,), generator=g) if classes is None else classes
    return 0.25 + 0.5 * labels.view(-1, 1, 1, 1) + 0.2 * (torch.rand(n, 1, 3, 3, generator=g) - 0.5), labels


def images(n, seed=0):
    x, labels = light(n, seed)
    return Images((255 * x).round().to(torch.uint8), labels, ("dark", "bright"), f"light {seed}")


class Light:
    """Draws as the real images are, of class `only` if given; conditional if asked. `wrong` swaps the classes."""

    shape, levels, classes = (1, 3, 3), 256, None

    def __init__(self, *, conditional=False, only=None, wrong=False):
        self.classes = 2 if conditional else None
        self.only, self.wrong = only, wrong

    def sample(self, n, rng, labels=None):
        seed = int(torch.randint(2**40, (1,), generator=rng))
        if labels is not None:
            labels = 1 - labels if self.wrong else labels
        elif self.only is not None:
            labels = torch.full((n,), self.only)
        return light(n, seed, labels)[0]


class Copies:
    """Draws images that it remembers."""

    shape, levels, classes = (1, 3, 3), 256, None

    def __init__(self, remembered):
        self.remembered = remembered

    def sample(self, n, rng, labels=None):
        return self.remembered.x(torch.randint(len(self.remembered), (n,), generator=rng))


REAL, TRAINING = images(1200, 1), images(900, 2)


def measured(model, **options):
    return quality.run(model, Brightness(), REAL, options.pop("training", TRAINING), rng=rng(3), **options)


def test_samples_of_the_real_distribution_are_as_good_as_real_images():
    found = measured(Light())
    assert found.n == 600 and found.measure == "FD-toy"
    assert 0.3 < found.ratio < 3  # both are sampling noise
    assert abs(found.samples.kernel.mean) < 4 * found.samples.kernel.standard_error
    for name in ("precision", "recall", "density", "coverage"):
        ours, theirs = (getattr(d.manifold, name) for d in (found.samples, found.floor))
        assert ours == pytest.approx(theirs, abs=0.1) and theirs > 0.7
    assert found.class_divergence == pytest.approx(0, abs=0.02) and found.accuracy is None
    assert found.real_accuracy == 1
    for memory in found.memory:
        assert memory.ratio == pytest.approx(1, abs=0.05) and memory.close < 0.04
        assert memory.flagged == pytest.approx(memory.held_out_flagged, abs=0.05)  # so few pixels make it common


def test_copies_pass_every_distance_and_fail_for_memory():
    found = measured(Copies(TRAINING))
    assert found.ratio < 3 and found.samples.manifold.precision > 0.7
    for memory in found.memory:
        assert memory.median == 0 and memory.ratio == 0 and memory.close == 1 and memory.flagged == 1
        assert memory.held_out_flagged < 0.2
    assert torch.equal(found.worst, found.copied) and len(found.worst) == quality.WORST


def test_the_worst_pairs_are_the_samples_that_stand_out_and_their_nearest_training_images():
    x = TRAINING.x(slice(None))

    class Mostly(Light):
        def sample(self, n, rng, labels=None):
            drawn = super().sample(n, rng, labels)
            drawn[7] = x[123]
            return drawn

    found = measured(Mostly())
    assert (found.worst[0] == x[123]).all() and (found.copied[0] == x[123]).all()
    distances = (found.worst[:, None] - x[None]).flatten(2).norm(dim=2)
    assert torch.equal(x[distances.argmin(1)], found.copied)


def test_one_class_alone_is_seen_by_distances_recall_and_divergence():
    found = measured(Light(only=1))
    share = quality.class_divergence(torch.ones(10).long(), REAL.labels)
    assert found.class_divergence == pytest.approx(share, abs=0.1) and share == pytest.approx(math.log(2), abs=0.1)
    assert found.ratio > 20 and found.samples.kernel.mean > 4 * found.samples.kernel.standard_error
    assert found.samples.manifold.precision > 0.7 and found.samples.manifold.coverage < 0.6


def test_a_divergence_from_a_class_that_does_not_exist_is_infinite():
    assert quality.class_divergence(torch.tensor([0, 2]), torch.tensor([0, 1])) == math.inf
    assert quality.class_divergence(torch.tensor([0, 1, 1]), torch.tensor([1, 0, 1])) == 0


@pytest.mark.parametrize(("wrong", "accuracy"), [(False, 1.0), (True, 0.0)])
def test_a_conditional_model_draws_for_the_real_labels(wrong, accuracy):
    found = measured(Light(conditional=True, wrong=wrong))
    assert found.accuracy == accuracy and found.class_divergence is None
    assert found.record()["accuracy"] == accuracy
    without = Images(REAL.pixels, None, (), "")
    with pytest.raises(DataError, match="labels of the real images"):
        quality.run(Light(conditional=True), Brightness(), without, rng=rng())


def test_noise_is_far_from_everything():
    class Noise(Light):
        def sample(self, n, rng, labels=None):
            return torch.rand(n, 1, 3, 3, generator=rng)

    found = measured(Noise(), training=None)
    assert found.samples.manifold.precision < 0.1 and found.ratio > 20
    assert found.memory == () and len(found.worst) == 0 and found.record()["memory"] == {}


def test_drawn_binary_images_stand_beside_binarized_ones_and_means_beside_grey_ones():
    vae = BernoulliVae()
    drawn, means = measured(vae, draw=True), measured(vae)
    assert (drawn.protocol["images"], drawn.protocol["binarization"]) == ("drawn", "dynamic")
    assert (means.protocol["images"], means.protocol["binarization"]) == ("means", "none")
    assert set(drawn.worst.unique().tolist()) == {0.0, 1.0} == set(drawn.copied.unique().tolist())
    assert len(means.copied.unique()) > 2


def test_codes_that_are_drawn_are_shown_by_their_means():
    uniform = measured(Identity())  # decodes, and does not keep Samples
    assert uniform.protocol["images"] == "means"
    with pytest.raises(CapabilityError, match="Samples"):
        measured(Identity(), draw=True)


class Warm(Light):
    """Mixes up its classes more often, the higher the temperature."""

    temperature = 1.0

    def sample(self, n, rng, labels=None):
        mixed = torch.rand(n, generator=rng) < self.temperature / 4
        return super().sample(n, rng, torch.where(mixed, 1 - labels, labels))


def test_at_a_lower_temperature_more_samples_are_what_their_label_says():
    model = Warm(conditional=True)
    warm, cool = (measured(model, temperature=t) for t in (1.0, 0.2))
    assert warm.accuracy == pytest.approx(0.75, abs=0.06) and cool.accuracy == pytest.approx(0.95, abs=0.03)
    assert cool.protocol["temperature"] == 0.2 and model.temperature == 1
    with pytest.raises(CapabilityError, match="temperature"):
        measured(Light(), temperature=0.5)


def test_the_same_seed_gives_the_same_record_and_it_is_json():
    one, two = (measured(Light(), n=100).record() for _ in range(2))
    for record in (one, two):
        del record["seconds_per_image"]
    assert one == two == json.loads(json.dumps(one))
    other = quality.run(Light(), Brightness(), REAL, TRAINING, n=100, rng=rng(4)).record()
    assert other["samples"]["fd"] != one["samples"]["fd"]


def test_halves_are_disjoint_and_the_floor_is_of_real_images_only():
    seen = []

    class Watching(Brightness):
        def features(self, x):
            seen.append(x)
            return super().features(x)

    quality.run(Light(), Watching(), REAL, rng=rng(), n=100)
    a, b = seen[2], seen[3]  # after one image for the number of features, and the samples
    rows = {tuple(row.tolist()) for row in a.flatten(1)}, {tuple(row.tolist()) for row in b.flatten(1)}
    assert len(rows[0]) == len(rows[1]) == 100 and not rows[0] & rows[1]


def test_samples_are_rounded_to_8_bit_levels():
    found = measured(Light())
    assert torch.equal((found.worst * 255).round() / 255, found.worst)


def test_weights_are_named_by_their_hash():
    torch.manual_seed(0)
    one = classifier.Config((1, 3, 3), Dense((5,)), 4, 2, "FD-small").build()
    first = quality.fingerprint(one)
    assert first is not None and len(first) == 64 and first == quality.fingerprint(one.eval())
    with torch.no_grad():
        one.output.bias[0] += 1e-3
    assert quality.fingerprint(one) != first
    found = quality.run(Light(), one, REAL, rng=rng())
    assert found.protocol["classifier_sha256"] == quality.fingerprint(one) and found.measure == "FD-small"
    assert quality.fingerprint(Brightness()) is None


def test_progress_counts_samples():
    told = []
    measured(Light(), progress=lambda done, total: told.append((done, total)), training=None)
    assert told == [(500, 600), (600, 600)]


@pytest.mark.parametrize("options", [{"n": 19}, {"n": 601}])
def test_too_few_images_are_refused_with_the_number_that_is_wanted(options):
    with pytest.raises(DataError, match=r"wants n of 20 or more, and 2 n real images \(at least .* there are 1,200"):
        measured(Light(), **options)
    with pytest.raises(DataError, match=r"at least 40; there are 30"):
        quality.run(Light(), Brightness(), images(30), rng=rng())


def test_other_shapes_and_other_models_are_refused():
    with pytest.raises(DataError, match="the model wants 1 x 3 x 3"):
        quality.run(Light(), Brightness(), Images(torch.zeros(100, 1, 4, 4), None, (), ""), rng=rng())
    with pytest.raises(CapabilityError, match="the classifier does not keep the promise Classifies"):
        quality.run(Light(), Light(), REAL, rng=rng())
    with pytest.raises(CapabilityError, match="Samples"):
        measured(TOYS["shrinkage"]())


def test_features_have_mean_zero_and_variance_one_over_the_training_images():
    torch.manual_seed(0)
    model = classifier.Config((1, 3, 3), Dense((20,)), 6, 2).build().double()
    x = TRAINING.x(slice(None)).double()
    before = model.classify(x)
    model.calibrate(list(x.split(70)))
    with torch.no_grad():
        features = model.features(x)
        assert torch.equal(model.classify(x), before)
    torch.testing.assert_close(features.mean(0), torch.zeros(6).double(), atol=1e-9, rtol=0)
    torch.testing.assert_close(features.var(0, correction=0), torch.ones(6).double(), atol=1e-9, rtol=0)


def test_a_feature_that_never_changes_stays_zero():
    model = classifier.Config((1, 3, 3), Dense(()), 4, 2).build()
    with torch.no_grad():
        model.network[1].weight[2] = 0
        model.calibrate(TRAINING.chunks())
        assert model.features(TRAINING.x(slice(5)))[:, 2].abs().max() == 0


def test_classification_is_the_cross_entropy_with_smoothed_targets():
    model = classifier.Config((1, 3, 3), Dense((20,)), 6, 3).build().double()
    x, labels = TRAINING.x(slice(8)).double(), torch.arange(8) % 3
    batch = Batch(x, labels, None, None, torch.arange(8))
    log_p = model.classify(x)
    torch.testing.assert_close(log_p.exp().sum(1), torch.ones(8).double())
    for smoothing in (0.0, 0.3):
        targets = torch.full((8, 3), smoothing / 3).double()
        targets[torch.arange(8), labels] += 1 - smoothing
        parts = Classification(smoothing)(model, batch, rng=rng(), progress=0.0)
        torch.testing.assert_close(parts.loss, -(targets * log_p).sum(1).mean())
        assert parts.report["accuracy"] == (log_p.argmax(1) == labels).float().mean()
        torch.testing.assert_close(parts.report["nats"], -log_p[torch.arange(8), labels].mean().detach())
    with pytest.raises(DataError, match="wants labels"):
        Classification()(model, Batch(x, None, None, None, torch.arange(8)), rng=rng(), progress=0.0)
    with pytest.raises(DataError, match=r"label 4, but the model is for 3 classes"):
        Classification()(model, Batch(x, labels + 2, None, None, torch.arange(8)), rng=rng(), progress=0.0)
    with pytest.raises(DataError, match="this model is for"):
        model.features(torch.zeros(1, 1, 4, 4))


@pytest.fixture(scope="module")
def runs(bars, tmp_path_factory):
    """A classifier and a generator of bars."""
    place = tmp_path_factory.mktemp("quality")
    small = ["model.network.channels=8,8", "model.width=6", "training.images=3200", "training.batch=64"]
    face.train("mnist-classifier", bars, place / "classifier", overrides=[*small, "training.check=3200"])
    face.train("mnist-pca", bars, place / "pca")
    return place


def test_command_prints_writes_and_says_json(imprior, runs, bars, tmp_path):
    common = ("quality", runs / "pca", "--data", bars, "--classifier", runs / "classifier")
    shown = imprior(*common, "-o", tmp_path / "quality.html")
    assert shown.code == 0 and "FD-mnist-v1" in shown.out and "real images" in shown.out and "n = 30" in shown.out
    page = (tmp_path / "quality.html").read_text()
    assert "nearest training image" in page and "data:image/png" in page
    assert imprior(*common, "-o", tmp_path / "pairs.png").code == 0 and (tmp_path / "pairs.png").stat().st_size > 1000
    said = json.loads(imprior(*common, "-n", 25, "--json").out)[str(runs / "pca")]
    assert said["n"] == 25 and said["measure"] == "FD-mnist-v1" and said["real"]["accuracy"] > 0.9
    assert said["protocol"]["training"]["n"] == 270 and said["samples"]["fd"] > said["real"]["fd"]


@pytest.fixture
def inception(tmp_path, monkeypatch):
    """A program that makes four mixtures of the means of each channel's quarters, and the same in Python."""
    monkeypatch.setattr("imprior.metrics.inception.FEATURES", 4)
    pool = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(), torch.nn.Linear(12, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(pool, torch.zeros(2, 3, 299, 299)).save(tmp_path / "inception.pt")
    return tmp_path / "inception.pt", pool


def test_inception_is_shown_levels_at_its_size_and_names_the_file(inception):
    file, pool = inception
    network = Inception(file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert network.measure == f"FID (Inception {digest[:8]})" and quality.fingerprint(network) == digest
    x = torch.rand(40, 1, 598, 598, generator=rng())  # halved: each pixel of 299 x 299 stands for a square of four
    with torch.no_grad():
        expected = pool(
            255 * torch.nn.functional.interpolate(x, (299, 299), mode="bilinear", antialias=True).expand(-1, 3, -1, -1)
        )
    torch.testing.assert_close(network.features(x), expected)
    flat = torch.full((2, 3, 5, 7), 0.25)
    with torch.no_grad():
        torch.testing.assert_close(network.features(flat), pool(torch.full((2, 3, 299, 299), 63.75)))


def test_fid_is_said_only_of_an_inception_file(imprior, inception, runs, bars, tmp_path):
    common = ("quality", runs / "pca", "--data", bars)
    said = json.loads(imprior(*common, "--inception", inception[0], "--json").out)[str(runs / "pca")]
    assert said["measure"].startswith("FID (Inception ") and said["samples"]["fd"] > 0
    assert said["protocol"]["classifier_sha256"].startswith(said["measure"][-9:-1])
    assert "class_divergence" not in said and said["real"]["accuracy"] is None
    both = imprior(*common, "--inception", inception[0], "--classifier", runs / "classifier")
    assert both.code == 2 and "one of the two" in both.line
    assert "No such file" in imprior(*common, "--inception", tmp_path / "none.pt").line
    (tmp_path / "text.pt").write_text("not a program")
    assert "no TorchScript" in imprior(*common, "--inception", tmp_path / "text.pt").line


def test_a_program_that_makes_other_features_is_refused(inception, monkeypatch):
    monkeypatch.setattr("imprior.metrics.inception.FEATURES", 2048)
    with pytest.raises(RunError, match=r"makes no features \[N, 2048\]"):
        Inception(inception[0])


def test_command_refuses_what_it_can_not_measure(imprior, runs, bars, tmp_path):
    common = ("quality", runs / "pca", "--data", bars)
    assert "no embedded classifier was trained on these images" in imprior(*common).line
    assert "does not keep the promise Classifies" in imprior(*common, "--classifier", runs / "pca").line
    assert "no picture format" in imprior(*common, "-o", tmp_path / "pairs.xyz").line
    few = imprior(*common, "--classifier", runs / "classifier", "-n", 31)
    assert few.code == 2 and "at least 62; there are 60" in few.line


def test_the_classifier_of_a_source_is_the_embedded_one_that_was_trained_on_it(runs, bars, monkeypatch):
    from imprior.runs import Run

    monkeypatch.setattr("imprior.runs.embedded", lambda: {p.name: Run(p) for p in (runs / "pca", runs / "classifier")})
    by_itself = measure(runs / "pca", bars, n=25, seed=1).record()
    named = measure(runs / "pca", bars, n=25, seed=1, classifier=runs / "classifier").record()
    assert by_itself["samples"] == named["samples"]
    assert by_itself["protocol"] == named["protocol"]
