"""The scores as Markdown."""

from collections.abc import Mapping

from training.measure.answers import BLEND, CONSTANT_MEAN, GREY
from training.measure.bootstrap import Estimate
from training.measure.faces import FaceScores
from training.measure.hint_curve import HintScores
from training.measure.reliability import Reliability
from training.measure.scores import ALWAYS_B, TRUTH, Scores

REFERENCES = (BLEND, GREY, CONSTANT_MEAN, ALWAYS_B, TRUTH)

# Heading and decimals by figure.
_ERRORS = {
    "mse": ("MSE on ab/128", 4),
    "mse_ratio_to_grey": ("÷ grey's", 3),
    "ciede2000": ("CIEDE2000", 2),
    "ciede2000_ratio_to_grey": ("÷ grey's", 3),
    "ciede2000_p95": ("95th percentile", 1),
    "psnr": ("PSNR, dB", 2),
    "channel_argmax_accuracy": ("channel argmax accuracy", 3),
}
_COLORS = {
    "colorfulness": ("colourfulness", 1),
    "colorfulness_ratio": ("÷ truth's", 2),
    "auc": ("AuC", 3),
    "auc_rebalanced": ("AuC, rebalanced", 3),
    "frechet": ("Fréchet distance", 2),
}
_SERVED = {
    "ciede2000": ("CIEDE2000", 2),
    "ciede2000_ratio_to_grey": ("÷ grey's", 3),
    "psnr": ("PSNR, dB", 2),
    "psnr_above_grey": ("above grey's", 2),
    "colorfulness_ratio": ("colourfulness ÷ truth's", 2),
    "excess": ("share of pixels with chroma > truth's + 25", 4),
}
_HINTS = {"psnr": ("PSNR, dB", 2), "difference": ("ΔE*ab under the hints", 1)}
_FACES = {
    "ciede2000_ratio_to_grey": ("CIEDE2000 ÷ grey's", 3),
    "chroma_ratio": ("chroma ÷ truth's", 2),
    "chroma_ratio_p10": ("1st decile", 2),
    "chroma_ratio_p50": ("5th", 2),
    "chroma_ratio_p90": ("9th", 2),
    "hue_error": ("hue error, degrees", 1),
}
_COMPARED = {
    "gain": ("gain", 2),
    "ciede2000_ratio_to_grey": ("CIEDE2000 ÷ grey's", 3),
    "frechet": ("Fréchet distance", 2),
} | {f"faces_{figure}": (f"faces: {heading}", decimals) for figure, (heading, decimals) in _FACES.items()}


def format_tables(scores: Scores) -> str:
    """Two tables, errors and colour: a row an answer, the models first; `value [low, high]`, – where there is none."""
    return "\n\n".join(_table(_in_order(scores), columns) for columns in (_ERRORS, _COLORS))


def format_served(scores: Scores) -> str:
    """One table of whole photographs, `ServedEvaluation.scores` or its `source_scores`; a row an answer."""
    return _table(_in_order(scores), _SERVED)


def format_faces(groups: FaceScores) -> str:
    """One table: a row a group and answer."""
    rows = {
        f"{group} ({face['faces']}) | {row}": figures
        for group, face in groups.items()
        for row, figures in face["scores"].items()
    }
    return _table(rows, _FACES, "| faces | answer |")


def format_comparison(scores: Scores) -> str:
    """One table of what `compare` measured: a row a network and colourfulness."""
    return _table(scores, _COMPARED)


def format_reliability(reliability: Reliability) -> str:
    """One table: a row a bin, in units of a* and b*; then their mean distance."""
    lines = ["| tenth | predicted error | real error |", "|---|---|---|"]
    for number, one in enumerate(reliability.bins, start=1):
        lines.append(f"| {number} | {one.predicted:.2f} | {one.real:.2f} |")
    return "\n".join([*lines, f"| calibration error | | {reliability.calibration_error:.2f} |"])


def format_hints(hints: HintScores) -> str:
    """One table: a row a number of hints."""
    return _table({str(count): figures for count, figures in hints.items()}, _HINTS, "| hints |")


def _in_order(scores: Scores) -> Scores:
    """The models first, then the references."""
    models = [row for row in scores if row not in REFERENCES]
    rows = {row: scores[row] for row in models}
    return rows | {row.replace("_", " "): scores[row] for row in REFERENCES if row in scores}


def _table(rows: Scores, columns: Mapping[str, tuple[str, int]], names: str = "| |") -> str:
    """`names`: the head of the columns that name the row."""
    head = f"{names} " + " | ".join(heading for heading, _ in columns.values()) + " |"
    lines = [head, "|---" * (head.count("|") - 1) + "|"]
    for name, row in rows.items():
        cells = [_cell(row[key], decimals) if key in row else "–" for key, (_, decimals) in columns.items()]
        if any(cell != "–" for cell in cells):
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(estimate: Estimate, decimals: int) -> str:
    value = f"{estimate['value']:.{decimals}f}"
    if "low" not in estimate or estimate["low"] == estimate["high"]:
        return value
    return f"{value} [{estimate['low']:.{decimals}f}, {estimate['high']:.{decimals}f}]"
