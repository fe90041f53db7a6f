"""Names of processes, objectives and samplers, and which of them go together."""

import inspect
from typing import NamedTuple

import torch

from lafufu_sb.errors import UsageError, whole_number

MOST_STEPS = 10_000  # of a sampler; published ones take up to a thousand
PROCESSES = {}
OBJECTIVES = {}
SAMPLERS = {}


class RegisteredSampler(NamedTuple):
    """A sampler and what it needs.

    function : callable
        See :mod:`lafufu_sb.diffusion.samplers`.
    processes : tuple of type
        Processes that it walks back.
    estimates : str
        What its ``estimate(x, t)`` must return: "score" or "data".
    """

    function: callable
    processes: tuple
    estimates: str


def register_process(cls):
    """Class decorator: make a process known by its name."""
    PROCESSES[cls.__name__] = cls
    return cls


def register_objective(cls):
    """Class decorator: make an objective known by its name."""
    OBJECTIVES[cls.__name__] = cls
    return cls


def register_sampler(*processes, estimates):
    """Make a sampler known by the name of its function.

    Arguments
    ---------
    *processes : type
        Process classes that it fits; subclasses fit too.
    estimates : str
        "score" or "data": what ``estimate`` returns. A network that estimates the other
        fits too where the process ``has_score``: it is converted.

    Returns
    -------
    callable
        A decorator that returns the function unchanged.

    Example
    -------
    >>> from lafufu_sb.diffusion.processes import Process
    >>> @register_sampler(Process, estimates="data")
    ... def first_call(estimate, process, mean, *, num_steps=1, generator=None):
    ...     t = torch.full(mean.shape[:1], process.t_max)
    ...     return estimate(process.prior(mean, generator), t)
    >>> SAMPLERS.pop("first_call").estimates
    'data'
    """

    def register(function):
        """Note the function under its name."""
        SAMPLERS[function.__name__] = RegisteredSampler(function, processes, estimates)
        return function

    return register


def fitting_samplers(process, estimates=None):
    """Sorted names of the samplers for a process (and what a network estimates)."""
    return sorted(
        name
        for name, sampler in SAMPLERS.items()
        if isinstance(process, sampler.processes)
        and (process.has_score or estimates in (None, sampler.estimates))
    )


def check_objective(process, objective):
    """Refuse an objective that does not go with a process.

    Raises
    ------
    UsageError
        Lists the objectives that fit the process, or that a sampler is missing.
    """
    if not isinstance(process, objective.processes):
        fitting = [n for n, o in OBJECTIVES.items() if isinstance(process, o.processes)]
        raise UsageError(
            f"objective {type(objective).__name__} does not fit the process "
            f"{type(process).__name__}: use one of {', '.join(sorted(fitting))}"
        )
    if not fitting_samplers(process, objective.estimates):
        names = ", ".join(fitting_samplers(process)) or "none"
        raise UsageError(
            f"no sampler walks {type(process).__name__} back with an estimate of the "
            f"{objective.estimates}, which {type(objective).__name__} trains. Samplers "
            f"of this process: {names}"
        )


def get_sampler(name, process, *, estimates=None, **options):
    """Look a sampler up and check it against process, estimate and options.

    Arguments
    ---------
    name : str
        Name of a registered sampler.
    process : Process
        The process that it will walk back.
    estimates : str, optional
        What the network estimates, "score" or "data"; by default, what the sampler
        asks for.
    **options
        Keyword arguments of the sampler, such as ``num_steps``.

    Returns
    -------
    callable
        ``sampler(estimate, mean, generator=None)``. Its attribute ``calls`` is the
        number of times that it calls ``estimate``.

    Raises
    ------
    UsageError
        The name or an option is unknown, the sampler does not fit the process or the
        estimate, or it refuses a value. The message lists what would fit.

    Example
    -------
    >>> from lafufu_sb.diffusion.processes import OUVESDE
    >>> get_sampler("predictor_corrector", OUVESDE(), num_steps=30).calls
    60
    """
    fitting = fitting_samplers(process, estimates)
    if name not in fitting:
        known = "does not fit this model" if name in SAMPLERS else "is unknown"
        what = f" and a network that estimates the {estimates}" if estimates else ""
        raise UsageError(
            f"sampler {name!r} {known}. A {type(process).__name__}{what} can use "
            f"{', '.join(fitting) or 'no registered sampler'}"
        )
    function, wanted = SAMPLERS[name].function, SAMPLERS[name].estimates
    _check_options(name, function, options)

    def sampler(estimate, mean, generator=None):
        """The sampler with its process and options."""
        if estimates not in (None, wanted):
            estimate = _converted(estimate, process, mean, wanted)
        return function(estimate, process, mean, generator=generator, **options)

    sampler.calls = _count_calls(sampler)
    return sampler


def _converted(estimate, process, mean, wanted):
    convert = {"score": process.to_score, "data": process.to_data}[wanted]
    return lambda x, t: convert(estimate(x, t), x, mean, t)


def _check_options(name, function, options):
    parameters = inspect.signature(function).parameters
    own = {n: p for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    own.pop("generator")
    unknown = sorted(set(options) - set(own))
    if unknown:
        raise UsageError(
            f"sampler {name!r} has no option {', '.join(unknown)}: it has "
            f"{', '.join(own)}"
        )
    steps = options.get("num_steps", own["num_steps"].default)
    whole_number("num_steps", steps, 1, MOST_STEPS)


def _count_calls(sampler):
    """Count the calls that a sampler makes by running it on a single number.

    The sampler also checks the values of its options here.
    """
    asked = []

    def estimate(x, t):
        """Note a call."""
        asked.append(t)
        return torch.zeros_like(x)

    # A generator of its own: counting must not move the global one.
    sampler(estimate, torch.zeros(1, 1, 1, 1), generator=torch.Generator())
    return len(asked)
