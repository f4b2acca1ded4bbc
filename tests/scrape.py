"""Reading what Prometheus would."""


def sample(scrape: str, series: str) -> float:
    """The sum of all samples whose line begins with `series`; 0 where there is none."""
    return sum(float(line.rpartition(" ")[2]) for line in scrape.splitlines() if line.startswith(series))
