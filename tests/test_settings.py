"""Settings: to JSON and back, overrides by path, and refusals that name the nearest right thing."""

import json

import pytest

from imprior import recipes
from imprior.errors import RecipeError
from imprior.settings import flatten, from_json, to_json

NAMES = sorted(recipes.names())


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_survives_json(name):
    recipe = recipes.find(name)
    assert recipes.read(json.loads(json.dumps(recipes.as_json(recipe)))) == recipe


@pytest.mark.parametrize("name", NAMES)
def test_every_leaf_of_every_recipe_can_be_overridden_by_its_own_value(name):
    recipe = recipes.find(name)
    for path, value in flatten(recipe).items():
        if path in ("name", "version"):
            continue
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        assert recipe.with_overrides([f"{path}={text}"]) == recipe, path


def test_overrides_reach_nested_and_exchangeable_parts():
    recipe = recipes.find("mnist-vae").with_overrides(
        [
            "objective.beta=4",
            "optimiser.name=adagrad",
            "model.prior=vamp",
            "model.prior.components=7",
            "data.limit=none",
        ]
    )
    assert recipe.training.objective.beta == 4.0 and isinstance(recipe.training.objective.beta, float)
    assert recipe.training.optimiser.name == "adagrad"
    assert type(recipe.model.prior).__name__ == "Vamp" and recipe.model.prior.components == 7


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("objective.bta=1", "did you mean 'objective.beta'"),
        ("latent=3", "did you mean 'model.latent'"),
        ("optimizer.name=adam", "did you mean 'optimiser.name'"),
        ("model.prior=flw", "flow"),
        ("training.batch=many", "a whole number"),
        ("training.batch=1.5", "a whole number"),
        ("data.flip=3", "true or false"),
        ("optimiser.name=adamm", "one of adamw, adam"),
        ("objective.beta.x=1", "no parts"),
        ("beta", "key=value"),
        ("name=other", "not a setting"),
        ("optimiser.rate=-1", "above 0"),
        ("model.network=dens", "dense"),
    ],
)
def test_what_is_wrong_is_named(text, said):
    with pytest.raises(RecipeError) as error:
        recipes.find("mnist-vae").with_overrides([text])
    assert said in str(error.value) and "\n" not in str(error.value)


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(RecipeError, match="did you mean 'mnist-vae'"):
        recipes.find("mnist-vea")


@pytest.mark.parametrize("kind", ["os.system", "errors.ImpriorError", "settings.override", "no.such.Thing", "", "..x"])
def test_a_foreign_file_cannot_name_code(kind):
    with pytest.raises(RecipeError):
        from_json({"type": kind})


@pytest.mark.parametrize("change", [{"extra": 1}, {"seed": "zero"}, {"data": 3}, {"version": 99}, {"model": None}])
def test_a_damaged_recipe_is_refused_in_one_line(change):
    values = recipes.as_json(recipes.find("mnist-ae")) | change
    with pytest.raises(RecipeError) as error:
        recipes.read(values)
    assert "\n" not in str(error.value)


def test_types_are_written_as_places_in_this_package():
    assert to_json(recipes.find("mnist-ae"))["model"]["type"] == "models.autoencoder.Config"
