"""Small containers with clicks at known times, and pictures that flash."""

from fractions import Fraction

import numpy as np

CLICKS = (0.25, 0.5, 0.8)  # seconds on the time line of the container
SECONDS, PICTURES = 1.0, 10  # pictures per second


def clicks(rate, seconds=SECONDS, late=0.0, seed=0):
    """Quiet noise with loud clicks, (samples,) from the time ``late`` on."""
    samples = round(seconds * rate) - round(late * rate)
    wav = 1e-3 * np.random.default_rng(seed).standard_normal(samples)
    for time in CLICKS:
        wav[round(time * rate) - round(late * rate)] = 0.9
    return wav.astype("float32")


def places(wav):
    """Samples of the clicks, (samples,)."""
    loudest = np.argsort(-np.abs(wav))
    found = []
    for place in loudest:
        if all(abs(place - other) > 2000 for other in found):
            found.append(int(place))
        if len(found) == len(CLICKS):
            return sorted(found)


def write_container(
    path,
    sound="aac",
    pictures=None,
    rate=48000,
    late=0.0,
    tracks=1,
    format=None,
    subtitles=None,
    options=None,
):
    """Write a container.

    Arguments
    ---------
    path : Path
        Its name.
    sound, pictures, subtitles : str, optional
        Codecs.
    rate : int
        Hz.
    late : float
        Seconds by which the sound begins after the pictures.
    tracks : int
        Number of sound tracks; later ones are silent.
    format : str, optional
        Sample format of the encoder.
    options : dict, optional
        Of the muxer.

    Returns
    -------
    numpy.ndarray
        Samples of the first track.
    """
    import av

    wav = clicks(rate, late=late)
    with av.open(str(path), "w", options=options or {}) as file:
        file.metadata.update({"title": "A film", "artist": "Somebody"})
        film = _add_pictures(file, pictures) if pictures else None
        streams = [file.add_stream(sound, rate, layout="mono") for _ in range(tracks)]
        for stream in streams:
            stream.bit_rate = 192_000
            if format:
                stream.format = format
        written = _add_subtitles(file, subtitles) if subtitles else None
        file.set_chapters(
            [_chapter(0, "One", 0, 500), _chapter(1, "Two", 500, 1000)]
            if pictures
            else []
        )
        step = rate // PICTURES
        for number in range(PICTURES):
            if film is not None:
                file.mux(film.encode(_picture(number)))
            if written is not None and number == 5:
                file.mux(_subtitle(written, subtitles))
            part = wav[number * step : (number + 1) * step][None]
            for place, stream in enumerate(streams):
                samples = part if place == 0 else 0.0 * part
                frame = av.AudioFrame.from_ndarray(samples, "flt", "mono")
                frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
                frame.pts = round(late * rate) + number * step
                if part.size:
                    file.mux(stream.encode(frame))
        for stream in [film, *streams]:
            if stream is not None:
                file.mux(stream.encode(None))
    return wav


def _add_pictures(file, codec):
    stream = file.add_stream(codec, rate=PICTURES, width=32, height=32)
    stream.pix_fmt = "yuv420p"
    return stream


def _picture(number):
    import av

    image = np.full((32, 32, 3), 255 * (number in (2, 5, 8)), "uint8")
    frame = av.VideoFrame.from_ndarray(image, "rgb24")
    frame.pts, frame.time_base = number, Fraction(1, PICTURES)
    return frame


def _add_subtitles(file, codec):
    stream = file.add_mux_stream(codec)
    stream.time_base = Fraction(1, 1000)
    return stream


def _subtitle(stream, codec):
    import av

    packet = av.Packet(b"\0\5Hello" if codec == "mov_text" else b"Hello")
    packet.stream, packet.time_base = stream, Fraction(1, 1000)
    packet.pts = packet.dts = 500
    packet.duration = 300
    return packet


def _chapter(number, title, start, end):
    return {
        "id": number,
        "start": start,
        "end": end,
        "time_base": Fraction(1, 1000),
        "metadata": {"title": title},
    }


def packets(path, kind="video"):
    """Time and bytes of all packets of a kind."""
    import av

    with av.open(str(path)) as file:
        streams = [stream for stream in file.streams if stream.type == kind]
        return [
            (float(packet.pts * packet.time_base), bytes(packet))
            for packet in file.demux(streams)
            if packet.dts is not None
        ]
