"""Progress of Python's own tools: tqdm and pip."""

from __future__ import annotations

from ._base import NUMBER, SIZE, Pattern

__all__ = ["RECOGNIZERS"]

RECOGNIZERS = (
    # "files:  17%|█▋        | 10/60 [00:00<00:01, 49.52it/s]"
    Pattern(
        "tqdm",
        rf"^(?:(?P<label>.*?): ++)? *+(?P<percent>{NUMBER})%\|[^|]*\| *(?P<completed>{SIZE})/(?P<total>{SIZE})"
        r" ?\[[^],]*(?:, *(?:[0-9.?]+[kKMG]?(?P<unit>[A-Za-z]+)/s)?)?",
        needles=("%", "%|"),
        scale=1000,
    ),
    # "files: 20it [00:00, 49.04it/s]"
    Pattern(
        "tqdm_endless",
        rf"^(?:(?P<label>.*?): +)?(?P<completed>{NUMBER})(?P<unit>[A-Za-z]+) \[[0-9:]{{5,}}, ",
        needles=("[", "[0"),
        scope="updates",
    ),
    # "     ━━━━━━━━━━━━━━━ 0.0/3.0 MB 1.0 MB/s eta 0:00:01"
    Pattern(
        "pip", rf"━[╸╺━ ]* (?P<completed>{NUMBER})/(?P<total>{NUMBER}) (?P<unit>[kMG]?B)", needles=("━", "/")
    ),
    # "Progress 262144 of 3000607" (pip --progress-bar=raw)
    Pattern(
        "pip_raw",
        rf"^Progress (?P<completed>{NUMBER}) of (?P<total>{NUMBER})$",
        programs=("pip*", "python*", "pypy*"),
        needles=("Progress ",),
        scope="own",
        unit="B",
    ),
)
