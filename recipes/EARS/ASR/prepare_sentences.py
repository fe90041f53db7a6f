#!/usr/bin/env python3
"""Write the csv of ``evaluate.py`` for a corpus of ``lafufu_sb.corpora.simulate``.

To run:
> python prepare_sentences.py corpora/EARS-WHAM test transcripts.json -o sentences.csv

``transcripts.json`` maps globs on names of speech files to their text. Clips with a
file that matches no glob are left out.

Authors
 * the lafufu_sb contributors, 2026
"""

import argparse
import csv
import fnmatch
import json
from pathlib import Path

import soundfile

from lafufu_sb.corpora.manifests import pair_recordings
from lafufu_sb.errors import UsageError
from lafufu_sb.files import written_whole

FIELDS = ("ID", "duration", "wav", "clean_wav", "wrd")


def sentence(files, transcripts):
    """Text of the files of a clip, joined; None if one is unknown.

    Arguments
    ---------
    files : str
        Names joined by "+", as ``simulated_<subset>.csv`` has them.
    transcripts : dict of str to str
        Glob to text.

    Returns
    -------
    str or None

    Example
    -------
    >>> sentence("a1.wav+b.wav", {"a*": "good", "b*": "morning"})
    'good morning'
    """

    def text(name):
        matches = (t for glob, t in transcripts.items() if fnmatch.fnmatch(name, glob))
        return next(matches, None)

    said = [text(name) for name in files.split("+")]
    return None if None in said else " ".join(said)


def prepare(corpus, subset, transcripts, output):
    """Write the csv; returns the number of its rows."""
    with open(corpus / f"simulated_{subset}.csv", newline="") as file:
        files = {row["id"]: row["speech_files"] for row in csv.DictReader(file)}
    rows = []
    for key, distorted, clean in pair_recordings(corpus / subset):
        text = sentence(files[Path(key).name], transcripts)
        if text is None:
            continue
        info = soundfile.info(str(distorted))
        paths = distorted.resolve(), clean.resolve()
        rows.append((key, info.frames / info.samplerate, *paths, text))
    if not rows:
        raise UsageError(
            f"{corpus / subset} has no clip whose speech files all match a glob of the "
            "transcripts: compare them with the column speech_files of "
            f"{corpus / f'simulated_{subset}.csv'}"
        )
    with written_whole(output) as path, open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(FIELDS)
        writer.writerows(rows)
    return len(rows)


def main(arguments=None):
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path, help="EARS-WHAM or EARS-Reverb")
    parser.add_argument("subset")
    parser.add_argument("transcripts", type=Path, help="json: glob to text")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        transcripts = json.loads(options.transcripts.read_text())
        count = prepare(options.corpus, options.subset, transcripts, options.output)
    except json.JSONDecodeError as error:
        parser.exit(2, f"{options.transcripts} is not valid JSON: {error}\n")
    except (OSError, UsageError) as error:
        parser.exit(2, f"prepare_sentences.py: error: {error}\n")
    print(f"{options.output}: {count} sentences")


if __name__ == "__main__":
    main()
