"""The devices, with what their makers publish and where; what is recalled or assumed says so."""

from typing import NamedTuple

from jaxl2o.training.budget import Device

# float32 products at the highest precision are six of bfloat16 on a TPU (JAX's documentation, "bf16_6x")
PASSES = 6
# assumed, not published: seconds of an operation however small, and of a hop from chip to chip
TPU_OPERATION, GPU_OPERATION, HOP = 2e-6, 5e-6, 1e-6


class Chip(NamedTuple):
    """A device, its FLOP/s of float32 products, and the source of its numbers."""

    device: Device
    float32: float
    source: str

    def at(self, dtype: str) -> Device:
        """The device for products of this dtype."""
        return self.device if dtype == "bfloat16" else self.device._replace(peak=self.float32)


def _tpu(
    peak: float, memory: float, bandwidth: float, link: float, island: int, network: float, axes: int, side: int, source: str
) -> Chip:
    return Chip(Device(peak, memory, bandwidth, link, island, network, axes, side, TPU_OPERATION, HOP), peak / PASSES, source)


# a link's bytes/s are one way: half of what is published for both ways, or a pod's all-reduce bandwidth over its chips, which
# is the same number where both are published
CHIPS = {
    "TPU v4": _tpu(
        275e12, 32 * 2**30, 1.2e12, 1.1e15 / 4096, 4096, 6.25e9, 3, 128, "cloud.google.com/tpu/docs/v4; network recalled"
    ),
    "TPU v5e": _tpu(197e12, 16e9, 819e9, 200e9, 256, 6.4e12 / 8 / 256, 2, 128, "cloud.google.com/tpu/docs/v5e"),
    "TPU v5p": _tpu(459e12, 95e9, 2765e9, 600e9, 8960, 50e9 / 8, 3, 128, "cloud.google.com/tpu/docs/v5p"),
    "TPU v6e": _tpu(
        918e12, 32e9, 1640e9, 400e9, 256, 25.6e12 / 8 / 256, 2, 256, "cloud.google.com/tpu/docs/v6e; side of 256 recalled"
    ),
    "H100 SXM": Chip(
        Device(989e12, 80e9, 3.35e12, 450e9, 8, 50e9, 0, 16, GPU_OPERATION, HOP),
        67e12,
        "NVIDIA's data sheet, recalled, as in glennklockwood.com/garden/processors/h100; network of 400 Gb/s a chip recalled",
    ),
}
