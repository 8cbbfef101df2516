"""A page of blind pairs for a person to vote on, offline: one file, which holds its images and saves votes as JSON.

[(left, right) …] pictures, sealed truth ──► page ──► a browser ──► votes.json: {format, truth, votes, saved}
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from html import escape

from imprior.report import page

STYLE = """
[hidden] { display: none !important; }
main { display: flex; gap: 2rem; justify-content: center; margin: 1.5rem 0; }
main button { flex: 0 1 20rem; padding: .6rem; background: var(--shade); border: 2px solid var(--line);
  border-radius: 10px; cursor: pointer; }
main button:hover { border-color: var(--link); }
main img { width: 100%; image-rendering: pixelated; border: 0; padding: 0; }
.row { display: flex; gap: .7rem; justify-content: center; flex-wrap: wrap; margin: 1rem 0; }
.row button { font: inherit; padding: .4rem .9rem; border: 1px solid var(--line); border-radius: 6px;
  background: var(--shade); color: var(--ink); cursor: pointer; }
button:disabled { opacity: .4; cursor: default; }
progress { width: 100%; accent-color: var(--link); }
kbd { color: var(--soft); font-size: .85rem; }
.over { font-weight: 600; text-align: center; }
""".strip()

SCRIPT = """
"use strict";
const trial = JSON.parse(document.getElementById("trial").textContent);
const place = "imprior judge " + trial.id;
const by = (id) => document.getElementById(id);
let votes = [];
try {  // a browser that is told to keep nothing throws: then votes last until the page is closed
  const kept = JSON.parse(localStorage.getItem(place));
  if (Array.isArray(kept)) votes = kept;
} catch (_) {}

function show() {
  const done = votes.length, all = trial.pairs.length;
  by("progress").max = all;
  by("progress").value = done;
  by("count").textContent = done + " of " + all;
  by("pair").hidden = by("others").hidden = done === all;
  by("over").hidden = done !== all;
  by("undo").disabled = done === 0;
  by("save").disabled = done === 0;
  if (done < all) [by("left-image").src, by("right-image").src] = trial.pairs[done];
}

function change(act) {
  act();
  try { localStorage.setItem(place, JSON.stringify(votes)); } catch (_) {}
  show();
}

const vote = (choice) => { if (votes.length < trial.pairs.length) change(() => votes.push(choice)); };
const undo = () => { if (votes.length) change(() => votes.pop()); };

function save() {
  const file = {format: trial.format, truth: trial.truth, votes: votes, saved: new Date().toISOString()};
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(file, null, 1)], {type: "application/json"}));
  link.download = "votes.json";
  link.click();
}

for (const choice of ["left", "right", "tie", "skip"]) by(choice).addEventListener("click", () => vote(choice));
by("undo").addEventListener("click", undo);
by("save").addEventListener("click", save);
const keys = {ArrowLeft: "left", ArrowRight: "right", ArrowDown: "tie", s: "skip"};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  if (event.key in keys) vote(keys[event.key]);
  else if (event.key === "Backspace" || event.key === "u") undo();
  else return;
  event.preventDefault();
});
show();
""".strip()

BODY = """
<h1>{question}</h1>
<p>Two images at a time, their makers unknown, their sides drawn at random. Votes stay in this browser until you save
them; <code>imprior judge --votes votes.json</code> counts them. (Whose image is whose is written in this file, made
unreadable at a glance and no better: please judge before you look.)</p>
<p><progress id="progress"></progress> <span id="count"></span></p>
<main id="pair">
<button id="left" aria-label="the left one"><img id="left-image" alt="left image"></button>
<button id="right" aria-label="the right one"><img id="right-image" alt="right image"></button>
</main>
<div class="row" id="others"><span><kbd>← left, right →</kbd></span>
<button id="tie">no difference <kbd>↓</kbd></button>
<button id="skip">skip <kbd>s</kbd></button></div>
<p class="over" id="over" hidden>That was the last pair. Save your votes.</p>
<div class="row"><button id="undo">undo <kbd>Backspace, u</kbd></button>
<button id="save">save votes.json</button></div>
<noscript><p>This page needs JavaScript, all of which is in the page.</p></noscript>
""".strip()


def render(
    pairs: Sequence[tuple[bytes, bytes]],
    truth: str,
    *,
    form: str,
    question: str = "Which of the two looks more like a real image?",
) -> str:
    """The page as HTML.

    Args:
        pairs: left and right picture of each, bytes of PNG files.
        truth: whose image stands where, sealed; goes into the votes file as it is.
        form: what the votes file says that it is.
        question: that is asked.
    """
    trial = {
        "id": hashlib.sha256(truth.encode()).hexdigest()[:16],
        "format": form,
        "truth": truth,
        "pairs": [[page.data_uri(left), page.data_uri(right)] for left, right in pairs],
    }
    digest = base64.b64encode(hashlib.sha256(f"\n{SCRIPT}\n".encode()).digest()).decode("ascii")
    body = [
        BODY.format(question=escape(question)),
        f'<script type="application/json" id="trial">{json.dumps(trial).replace("<", chr(92) + "u003c")}</script>',
        f"<script>\n{SCRIPT}\n</script>",
    ]
    # Only this script may run, and nothing may be loaded.
    policy = f"{page.POLICY}; script-src 'sha256-{digest}'"
    return page.document(question, body, style=f"{page.STYLE}\n{STYLE}", policy=policy)
