"""Random numbers as a function, not a state.

    z = Philox4x32-10(key = hash(seed, name), counter = (index, epoch, draw))

Every draw is a function of the seed, the ingredient's name, the epoch and the sample's index. So
a sample gets the same draw whatever the batch size, the order, the number of workers or devices
or the point of resumption; and removing one ingredient leaves all other draws as they were.

Whole batches are drawn at once: on the CPU in numpy's unsigned integers, elsewhere in torch's
signed ones, with the same bits.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".

>>> from goodfit.batch import Batch
>>> batch = Batch(torch.zeros(2, 3, 4, 4), torch.eye(2), torch.tensor([7, 9]))
>>> a, b = Rng(0, "flip", batch).uniform(), Rng(0, "flip", batch).uniform()
>>> bool((a == b).all())
True
"""

from hashlib import blake2b
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_M0, _M1 = 0xD2511F53, 0xCD9E8D57  # Philox's multipliers
_W0, _W1 = 0x9E3779B9, 0xBB67AE85  # and its key schedule
_LOW = 0xFFFFFFFF
_ROUNDS = 10
_GAMMA_TRIES = 12  # Marsaglia and Tsang accept with > 0.95, so all fail with < 1e-15


class Indexed(Protocol):
    """What Rng needs of a batch."""

    @property
    def index(self) -> Tensor: ...
    @property
    def epoch(self) -> int: ...


def key_of(seed: int, name: str) -> tuple[int, int]:
    """The generator's two key words, well mixed from a seed and a name."""
    digest = blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def philox(counter: Tensor, key: tuple[int, int]) -> Tensor:
    """Philox4x32-10 of int64 `counter` (4, m), whose values are below 2**32, on any device."""
    if counter.device.type == "cpu":
        return torch.from_numpy(_philox_cpu(counter.numpy().astype(np.uint32), key))
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        p0, p1 = c0 * _M0, c2 * _M1  # wraps modulo 2**64, which keeps all bits
        c0, c1 = ((p1 >> 32) & _LOW) ^ c1 ^ k0, p1 & _LOW
        c2, c3 = ((p0 >> 32) & _LOW) ^ c3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    return torch.stack([c0, c1, c2, c3])


def _philox_cpu(counter: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """The same with both multiplications of a round in one operation: small batches are common."""
    even, odd = counter[0::2], counter[1::2]
    factor = np.array([[_M0], [_M1]], np.uint64)
    keys = np.array(key, np.uint64)[:, None] + np.arange(_ROUNDS, dtype=np.uint64) * np.array(
        [[_W0], [_W1]], np.uint64
    )
    for k in np.split(keys.astype(np.uint32), _ROUNDS, axis=1):
        product = np.multiply(even, factor, dtype=np.uint64)
        high, low = (product >> np.uint64(32)).astype(np.uint32), product.astype(np.uint32)
        even, odd = high[::-1] ^ odd ^ k, low[::-1]
    return np.stack([even[0], odd[0], even[1], odd[1]]).astype(np.int64)


class Rng:
    """Draws for the samples of one batch and one ingredient.

    Successive calls on the same object give independent draws; a new object with the same
    arguments gives the same ones again. All results have one row per sample and lie on the
    device of `batch.index`.
    """

    def __init__(self, seed: int, name: str, batch: Indexed) -> None:
        self.index, self.epoch = batch.index, batch.epoch
        self._key = key_of(seed, name)
        self._block = 0
        self._spare: list[Tensor] = []  # words drawn and not used yet

    def words(self, count: int) -> Int[Tensor, "n count"]:
        """`count` independent integers in 0 .. 2**32 - 1 per sample, as int64."""
        missing = count - len(self._spare)
        if missing > 0:
            self._spare += self._more(-(-missing // 4))
        taken, self._spare = self._spare[:count], self._spare[count:]
        return torch.stack(taken, dim=1) if taken else self.index.new_empty(len(self.index), 0)

    def _more(self, blocks: int) -> list[Tensor]:
        n, device = len(self.index), self.index.device
        block = torch.arange(self._block, self._block + blocks, device=device)
        self._block += blocks
        counter = torch.empty((4, blocks, n), dtype=torch.int64, device=device)
        counter[0], counter[1] = self.index & _LOW, self.epoch & _LOW
        counter[2], counter[3] = block[:, None], self.index >> 32 & _LOW
        drawn = philox(counter.view(4, -1), self._key).view(4, blocks, n)
        return list(drawn.transpose(0, 1).reshape(-1, n))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> Float[Tensor, " n"]:
        """One number per sample, uniform in [low, high), with 24 random bits."""
        return self.uniforms(1)[:, 0] * (high - low) + low

    def uniforms(self, count: int) -> Float[Tensor, "n count"]:
        """`count` numbers per sample, uniform in [0, 1)."""
        return (self.words(count) >> 8).float() * 2.0**-24

    def integers(self, low: int, high: int) -> Int[Tensor, " n"]:
        """One integer per sample, uniform in low .. high - 1 (off by less than range / 2**32)."""
        return ((self.words(1)[:, 0] * (high - low)) >> 32) + low

    def happens(self, prob: float) -> Bool[Tensor, " n"]:
        """True for a sample with probability `prob`."""
        return self.uniform() < prob

    def sign(self) -> Float[Tensor, " n"]:
        """-1 or +1 per sample."""
        return (self.words(1)[:, 0] & 1).float() * 2 - 1

    def normal(self) -> Float[Tensor, " n"]:
        """One standard normal number per sample."""
        return self.normals(1)[:, 0]

    def normals(self, count: int) -> Float[Tensor, "n count"]:
        """`count` standard normal numbers per sample, by Box and Muller."""
        pairs = -(-count // 2)
        u = (self.words(2 * pairs).double() + 0.5) * 2.0**-32  # in (0, 1): the logarithm is finite
        radius = (-2 * u[:, :pairs].log()).sqrt()
        angle = u[:, pairs:] * (2 * torch.pi)
        both = torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)
        return both[:, :count].float()

    def beta(self, a: float, b: float) -> Float[Tensor, " n"]:
        """One number per sample from Beta(a, b), as a ratio of two gamma draws."""
        return torch.sigmoid(self._log_gamma(a) - self._log_gamma(b)).float()

    def _log_gamma(self, shape: float) -> Float[Tensor, " n"]:
        """Logarithm of a Gamma(shape, 1) draw: Marsaglia and Tsang, the first try that holds.

        In logarithms, since small shapes underflow. Shapes below 1 use
        Gamma(shape) = Gamma(shape + 1) * U ** (1 / shape).
        """
        d = (shape + 1 if shape < 1 else shape) - 1 / 3
        x = self.normals(_GAMMA_TRIES).double()
        u = (self.words(_GAMMA_TRIES + 1).double() + 0.5) * 2.0**-32
        v = (1 + x / (9 * d) ** 0.5) ** 3
        log_v = v.clamp_min(1e-300).log()
        holds = (v > 0) & (u[:, 1:].log() < 0.5 * x**2 + d - d * v + d * log_v)
        first = holds.int().argmax(dim=1, keepdim=True)
        result = log_v.gather(1, first)[:, 0] + float(np.log(d))
        return result + u[:, 0].log() / shape if shape < 1 else result

    def partners(self) -> Int[Tensor, " n"]:
        """For each sample, another one of the batch: a random cycle through all of them.

        The cycle follows the samples' own random keys, so it does not depend on their order in
        the batch. A batch of one has only itself.
        """
        order = self.words(1)[:, 0].argsort(stable=True)
        partner = torch.empty_like(order)
        partner[order] = order.roll(-1)
        return partner


def permutation(size: int, seed: int, name: str, epoch: int) -> Int[Tensor, " size"]:
    """A random order of 0 .. size - 1, a function of its arguments alone (on the CPU)."""
    low, high = key_of(seed, f"{name}/{epoch}")
    generator = np.random.Generator(np.random.Philox(key=low | high << 32))
    return torch.from_numpy(generator.permutation(size))
