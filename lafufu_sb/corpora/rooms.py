"""Simulate impulse responses of random shoebox rooms by the image source method.

Needs pyroomacoustics: ``pip install "lafufu_sb[rooms]"``.

Example::

    python -m lafufu_sb.corpora.rooms --output rooms/simulated --rooms 150 --seed 1
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lafufu_sb.corpora.excerpts import write_wav
from lafufu_sb.errors import MissingPackageError, UsageError

LENGTH, WIDTH, HEIGHT = (3.0, 10.0), (2.5, 8.0), (2.3, 4.0)  # metres
RT60 = (0.2, 1.5)  # seconds
WALL_DISTANCE, SOURCE_DISTANCE = 0.5, 0.7  # metres, at least
MAX_ORDER = 150  # reflections; cost grows with its cube (seconds at this order)
BANDS = 125.0 * 2.0 ** np.arange(8)  # Hz, octaves of the wall absorption
OCTAVES = np.maximum(np.log2(BANDS / 500.0), 0.0)
TILT = (0.0, 0.3)  # how much more walls absorb per octave above 500 Hz, relative
ABSORPTION = (0.02, 0.95)
DISPLACEMENT = 0.08  # metres; random image positions avoid sweeping echoes
PEAK = 0.5  # of the response; EARS-Reverb ignores its level


def simulate_room(rng, sample_rate=48000):
    """Simulate a shoebox room of random size, reverberation time and positions.

    At 500 Hz the walls absorb what Sabine's formula gives for the RT60 that was drawn;
    the measured RT60 differs slightly. At higher frequencies walls and air absorb more,
    as in furnished rooms.

    Arguments
    ---------
    rng : numpy.random.Generator
        The only source of randomness.
    sample_rate : int
        Hz.

    Returns
    -------
    numpy.ndarray
        (taps,), float64, peak 0.5.

    Raises
    ------
    MissingPackageError
        If pyroomacoustics is not installed.

    Source: image source method, Allen and Berkley 1979, with randomised images, De Sena
    et al. 2015, both as implemented in pyroomacoustics.
    """
    acoustics = _pyroomacoustics()
    size, absorption, order = _draw_size(acoustics, rng)
    while True:
        source, microphone = rng.uniform(WALL_DISTANCE, size - WALL_DISTANCE, (2, 3))
        if np.linalg.norm(source - microphone) >= SOURCE_DISTANCE:
            break
    coefficients = absorption * (1.0 + rng.uniform(*TILT) * OCTAVES)
    walls = {
        "coeffs": np.clip(coefficients, *ABSORPTION).tolist(),
        "center_freqs": BANDS.tolist(),
    }
    acoustics.random.seed(int(rng.integers(2**31)))
    room = acoustics.ShoeBox(
        size,
        fs=sample_rate,
        materials=acoustics.Material(walls),
        max_order=order,
        air_absorption=True,
        use_rand_ism=True,
        max_rand_disp=DISPLACEMENT,
    )
    room.add_source(source)
    room.add_microphone(microphone)
    threads = acoustics.constants.get("num_threads")
    acoustics.constants.set("num_threads", 1)  # the order of sums stays the same
    try:
        room.compute_rir()
    finally:
        acoustics.constants.set("num_threads", threads)
    rir = np.asarray(room.rir[0][0], dtype=np.float64)
    return PEAK * rir / np.abs(rir).max()


def _pyroomacoustics():
    try:
        import pyroomacoustics
    except ImportError as error:
        raise MissingPackageError(
            'simulated rooms need pyroomacoustics: pip install "lafufu_sb[rooms]"'
        ) from error
    return pyroomacoustics


def _draw_size(acoustics, rng):
    """Size (m), wall absorption and number of reflections of a room."""
    while True:
        size = np.array([rng.uniform(*side) for side in (LENGTH, WIDTH, HEIGHT)])
        try:
            absorption, order = acoustics.inverse_sabine(rng.uniform(*RT60), size)
        except ValueError:  # this RT60 is too short for so large a room
            continue
        if order <= MAX_ORDER:
            return size, absorption, order


def simulate_rooms(output_folder, rooms, seed, sample_rate=48000):
    """Write simulated rooms to ``room_<number>.wav``, 32-bit float.

    Arguments
    ---------
    output_folder : str or Path
        Created if it is missing.
    rooms : int
        Number of rooms.
    seed : int
        Room ``n`` depends only on the seed and ``n``.
    sample_rate : int
        Hz.

    Raises
    ------
    MissingPackageError
        If pyroomacoustics is not installed.
    """
    folder = Path(output_folder)
    for number in tqdm(range(rooms), desc="rooms"):
        rir = simulate_room(np.random.default_rng([seed, number]), sample_rate)
        write_wav(folder / f"room_{number:04}.wav", rir, sample_rate, "FLOAT")


def main(arguments=None):
    """Run the command; see ``python -m lafufu_sb.corpora.rooms --help``."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--output", required=True)
    parser.add_argument("--rooms", type=int, default=150)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--sample-rate", type=int, default=48000)
    options = parser.parse_args(arguments)
    try:
        simulate_rooms(options.output, options.rooms, options.seed, options.sample_rate)
    except (UsageError, OSError) as error:
        sys.exit(f"rooms: error: {error}")


if __name__ == "__main__":
    main()
