"""The scores as Markdown."""

from collections.abc import Mapping

from training.answers import BLEND, CONSTANT_MEAN, GREY
from training.bootstrap import Estimate
from training.scores import ALWAYS_B, TRUTH, Scores

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


def format_tables(scores: Scores) -> str:
    """Two tables, errors and colour: a row an answer, the models first; `value [low, high]`, – where there is none."""
    models = [row for row in scores if row not in REFERENCES]
    rows = {row: scores[row] for row in models}
    rows |= {row.replace("_", " "): scores[row] for row in REFERENCES if row in scores}
    return "\n\n".join(_table(rows, columns) for columns in (_ERRORS, _COLORS))


def _table(rows: Scores, columns: Mapping[str, tuple[str, int]]) -> str:
    lines = ["| | " + " | ".join(heading for heading, _ in columns.values()) + " |", "|---" * (len(columns) + 1) + "|"]
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
