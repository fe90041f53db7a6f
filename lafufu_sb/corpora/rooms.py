"""Room impulse responses of random shoebox rooms, by the image source method.

Needs pyroomacoustics (``pip install pyroomacoustics``), which nothing else here
does: the import waits until a room is simulated.

Example::

    python -m lafufu_sb.corpora.rooms --output rooms/simulated --rooms 150 --seed 1
"""

import argparse
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lafufu_sb.corpora.pieces import write_wav

LENGTH, WIDTH, HEIGHT = (3.0, 10.0), (2.5, 8.0), (2.3, 4.0)  # metres
RT60 = (0.2, 1.5)  # seconds
WALL_DISTANCE, SOURCE_DISTANCE = 0.5, 0.7  # metres, at least
MAX_ORDER = 150  # reflections; cost grows with its cube (seconds at this order)
BANDS = 125.0 * 2.0 ** np.arange(8)  # Hz, octaves of the wall absorption
OCTAVES = np.maximum(np.log2(BANDS / 500.0), 0.0)
TILT = (0.0, 0.3)  # how much more walls absorb per octave above 500 Hz, relative
ABSORPTION = (0.02, 0.95)
DISPLACEMENT = 0.08  # metres; random image positions avoid sweeping echoes
PEAK = 0.5  # of the written response: level means nothing to EARS-Reverb


def simulate_room(rng, sample_rate=48000):
    """Simulate one shoebox room with random size, decay and positions.

    At 500 Hz walls absorb what Sabine's formula asks for the drawn RT60 (the measured
    one differs a little); above, walls and air absorb more, as in furnished rooms.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws everything, so one seed gives one room.
    sample_rate : int
        Hz.

    Returns
    -------
    numpy.ndarray, shape (taps,)
        float64, peak 0.5.

    Raises
    ------
    ImportError
        pyroomacoustics is missing.

    Notes
    -----
    Source: image source method, Allen and Berkley 1979, with randomised images,
    De Sena et al. 2015; both as implemented in pyroomacoustics.
    """
    try:
        import pyroomacoustics
    except ImportError as error:
        raise ImportError(
            "simulate_room needs pyroomacoustics: pip install pyroomacoustics"
        ) from error
    while True:
        size = np.array([rng.uniform(*side) for side in (LENGTH, WIDTH, HEIGHT)])
        try:
            absorption, order = pyroomacoustics.inverse_sabine(rng.uniform(*RT60), size)
        except ValueError:  # too short a decay for so large a room
            continue
        if order <= MAX_ORDER:
            break
    while True:
        source, microphone = rng.uniform(WALL_DISTANCE, size - WALL_DISTANCE, (2, 3))
        if np.linalg.norm(source - microphone) >= SOURCE_DISTANCE:
            break
    coefficients = absorption * (1.0 + rng.uniform(*TILT) * OCTAVES)
    walls = {
        "coeffs": np.clip(coefficients, *ABSORPTION).tolist(),
        "center_freqs": BANDS.tolist(),
    }
    pyroomacoustics.random.seed(int(rng.integers(2**31)))
    room = pyroomacoustics.ShoeBox(
        size,
        fs=sample_rate,
        materials=pyroomacoustics.Material(walls),
        max_order=order,
        air_absorption=True,
        use_rand_ism=True,
        max_rand_disp=DISPLACEMENT,
    )
    room.add_source(source)
    room.add_microphone(microphone)
    threads = pyroomacoustics.constants.get("num_threads")
    pyroomacoustics.constants.set("num_threads", 1)  # the order of sums stays the same
    try:
        room.compute_rir()
    finally:
        pyroomacoustics.constants.set("num_threads", threads)
    rir = np.asarray(room.rir[0][0], dtype=np.float64)
    return PEAK * rir / np.abs(rir).max()


def simulate_rooms(output_folder, rooms, seed, sample_rate=48000):
    """Write simulated rooms as ``room_<number>.wav``, 32-bit float.

    Parameters
    ----------
    output_folder : path-like
        Created where missing; its name is what weights by folder refer to.
    rooms : int
        How many.
    seed : int
        Room ``n`` depends on the seed and ``n`` only.
    sample_rate : int
        Hz.

    Raises
    ------
    ImportError
        pyroomacoustics is missing.
    """
    folder = Path(output_folder)
    for number in tqdm(range(rooms), desc="rooms"):
        rir = simulate_room(np.random.default_rng([seed, number]), sample_rate)
        write_wav(folder / f"room_{number:04}.wav", rir, sample_rate, "FLOAT")


def main(arguments=None):
    """Command line; see ``python -m lafufu_sb.corpora.rooms --help``."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--output", required=True)
    parser.add_argument("--rooms", type=int, default=150)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--sample-rate", type=int, default=48000)
    options = parser.parse_args(arguments)
    simulate_rooms(options.output, options.rooms, options.seed, options.sample_rate)


if __name__ == "__main__":
    main()
