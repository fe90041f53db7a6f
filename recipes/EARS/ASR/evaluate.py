#!/usr/bin/env python3
"""Measure the word error rate of a recogniser with and without restoration before it.

To run:
> python evaluate.py hparams/whisper.yaml --test_csv=sentences.csv

The csv is SpeechBrain's: ID, duration, wav, wrd. Each recording is restored once and
recognised for every share of the unprocessed input in ``dry_values``.

Authors
 * the lafufu_sb contributors, 2026
"""

import csv
import sys
from pathlib import Path

import speechbrain as sb
import torch
from speechbrain.utils.logger import get_logger
from speechbrain.utils.metric_stats import ErrorRateStats
from tqdm import tqdm
from yaml import YAMLError

from lafufu_sb.errors import UsageError
from lafufu_sb.evaluation.tables import markdown_table
from lafufu_sb.files import written_whole
from lafufu_sb.inference.asr import RestoredASR, as_text, normalise_text, read_speech
from lafufu_sb.inference.loading import ModelChoice
from lafufu_sb.training.recipe import load_recipe

logger = get_logger(__name__)

FIELDS = {  # column: key of SpeechBrain's summary
    "dry": "dry",
    "WER": "WER",
    "words": "num_scored_tokens",
    "insertions": "insertions",
    "deletions": "deletions",
    "substitutions": "substitutions",
}


def read_sentences(path):
    """Rows of the csv; UsageError if columns are missing."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, skipinitialspace=True))
    missing = {"ID", "wav", "wrd"} - set(rows[0] if rows else ())
    if missing:
        raise UsageError(f"{path} has no rows with {', '.join(sorted(missing))}")
    folder = Path(path).parent
    for row in rows:
        row["wav"] = folder / row["wav"].replace("$data_root", str(folder))
        if not row["wav"].is_file():
            raise FileNotFoundError(
                f"{path}: {row['ID']} names {row['wav']}, which does not exist"
            )
    return rows


def transcribe(chain, rows, dry_values, seed, repeats=1):
    """Word error statistics for each share of the unprocessed input.

    Arguments
    ---------
    chain : RestoredASR
        Its own ``dry`` does not matter.
    rows : list of dict
        See ``read_sentences``.
    dry_values : list of float
        Shares.
    seed : int
        Of the restoration.
    repeats : int
        Recognitions of each signal; all of them count.

    Returns
    -------
    dict of float to ErrorRateStats
    """
    stats = {dry: ErrorRateStats() for dry in dry_values}
    whole = torch.ones(1)
    for row in tqdm(rows):
        noisy = read_speech(row["wav"], chain.enhancer.sample_rate)[None]
        restored = chain.enhancer.enhance_batch(noisy, whole, seed=seed).cpu()
        target = normalise_text(row["wrd"])
        for dry in dry_values:
            signal = torch.lerp(restored, noisy, dry)
            for _ in range(repeats):
                words, _ = chain.recognise_batch(signal, whole)
                heard = normalise_text(as_text(words[0]))
                stats[dry].append([row["ID"]], [heard], [target])
    return stats


def write(stats, folder):
    """Write alignments for each share and a summary; returns its Markdown table."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for dry, stat in stats.items():
        found = stat.summarize() | {"dry": dry}
        rows.append({field: found[key] for field, key in FIELDS.items()})
        with written_whole(folder / f"wer_dry{dry:g}.txt") as path:
            with open(path, "w", encoding="utf-8") as file:
                stat.write_stats(file)
    with written_whole(folder / "summary.csv") as path:
        with open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, FIELDS)
            writer.writeheader()
            writer.writerows(rows)
    cells = [[f"{value:.4g}" for value in row.values()] for row in rows]
    return markdown_table(list(FIELDS), cells)


def main(arguments):
    """Run the recipe; a refused request ends in one line, not in a traceback."""
    hparams_file, run_opts, overrides = sb.parse_arguments(arguments)
    try:
        hparams, _ = load_recipe(hparams_file, overrides)
        rows = read_sentences(hparams["test_csv"])
        device = run_opts["device"] or "cpu"
        choice = ModelChoice(hparams["restorer"], hparams["preset"], device=device)
        recogniser = hparams["recogniser"](run_opts={"device": device})
        chain = RestoredASR(choice.load(), recogniser)
    except (OSError, UsageError, YAMLError) as error:
        sys.exit(f"evaluate.py: error: {error}")
    stats = transcribe(
        chain, rows, hparams["dry_values"], hparams["seed"], hparams["repeats"]
    )
    print(write(stats, Path(hparams["output_folder"])))


if __name__ == "__main__":
    main(sys.argv[1:])
