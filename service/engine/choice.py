"""What a client may choose to have its photographs coloured by."""

from enum import StrEnum

from service.network.backbones import BackboneName


class BackboneChoice(StrEnum):
    """One of the networks, or the blend of all; the value is the query parameter and the label of requests' metrics."""

    MOBILENET_V2 = BackboneName.MOBILENET_V2.value
    RESNET101 = BackboneName.RESNET101.value
    BLEND = "blend"

    @property
    def backbones(self) -> tuple[BackboneName, ...]:
        """The networks to run; the answer is the mean of what they predict."""
        return tuple(BackboneName) if self is BackboneChoice.BLEND else (BackboneName(self.value),)
