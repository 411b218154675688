"""The model table: what can be downloaded, from where, and what its files must be byte for byte."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model, as published."""

    name: str
    size: int
    """Bytes."""
    sha256: str
    """Lower-case hexadecimal."""


@dataclass(frozen=True, slots=True)
class Files:
    """A source that offers each file by itself."""

    base: str
    """Address of their folder, without a last slash."""


@dataclass(frozen=True, slots=True)
class Archive:
    """A source that offers all files in one tar archive, in whatever folder inside it."""

    url: str
    size: int
    """Bytes."""
    sha256: str


@dataclass(frozen=True, slots=True)
class Model:
    """One row: a published model in one layout."""

    name: str
    """What `stt-server download` and a mirror's folder call it."""
    id: str
    """What callers of the server call it: the same for every layout."""
    title: str
    owned_by: str
    licence: str
    credit: str
    """What the licence asks to be said."""
    released: int
    """Unix time."""
    files: tuple[ModelFile, ...]
    sources: tuple[Files | Archive, ...]
    """In the order in which they are tried."""

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)


_HUB = "https://huggingface.co"
_RELEASES = "https://github.com/k2-fsa/sherpa-onnx/releases/download/asr-models"


def _files(lines: str) -> tuple[ModelFile, ...]:
    rows = (line.split() for line in lines.strip().splitlines())
    return tuple(ModelFile(name, int(size), sha256) for size, sha256, name in rows)


def _parakeet(
    version: str, layout: str, files: tuple[ModelFile, ...], *sources: Files | Archive, converted_by: str
) -> Model:
    name = f"parakeet-tdt-0.6b-{version}"
    return Model(
        name=name + layout,
        id=name,
        title=f"NVIDIA Parakeet TDT 0.6B {version}, {'25 European languages' if version == 'v3' else 'English'}, 8-bit",
        owned_by="nvidia",
        licence="CC-BY-4.0",
        credit=f"Parakeet TDT 0.6B {version} by NVIDIA, https://huggingface.co/nvidia/{name},"
        " licensed under CC-BY-4.0, https://creativecommons.org/licenses/by/4.0/."
        f" Changed: converted to ONNX with 8-bit integer weights by {converted_by}.",
        released=1_755_129_600 if version == "v3" else 1_746_057_600,  # 2025-08-14, 2025-05-01
        files=files,
        sources=sources,
    )


_V3 = _parakeet(
    "v3",
    "",
    _files("""
        652184281 acfc2b4456377e15d04f0243af540b7fe7c992f8d898d751cf134c3a55fd2247 encoder.int8.onnx
        11845275 179e50c43d1a9de79c8a24149a2f9bac6eb5981823f2a2ed88d655b24248db4e decoder.int8.onnx
        6355277 3164c13fc2821009440d20fcb5fdc78bff28b4db2f8d0f0b329101719c0948b3 joiner.int8.onnx
        93939 d58544679ea4bc6ac563d1f545eb7d474bd6cfa467f0a6e2c1dc1c7d37e3c35d tokens.txt
    """),
    Files(
        f"{_HUB}/csukuangfj/sherpa-onnx-nemo-parakeet-tdt-0.6b-v3-int8/resolve/2bda32ec70b097a55adaa07d9a7173915b43cc78"
    ),
    Archive(
        f"{_RELEASES}/sherpa-onnx-nemo-parakeet-tdt-0.6b-v3-int8.tar.bz2",
        487_170_055,
        "5793d0fd397c5778d2cf2126994d58e9d56b1be7c04d13c7a15bb1b4eafb16bf",
    ),
    converted_by="the sherpa-onnx project",
)
_V2 = _parakeet(
    "v2",
    "",
    _files("""
        652184296 a32b12d17bbbc309d0686fbbcc2987b5e9b8333a7da83fa6b089f0a2acd651ab encoder.int8.onnx
        7257753 b6bb64963457237b900e496ee9994b59294526439fbcc1fecf705b31a15c6b4e decoder.int8.onnx
        1739080 7946164367946e7f9f29a122407c3252b680dbae9a51343eb2488d057c3c43d2 joiner.int8.onnx
        9384 ec182b70dd42113aff6c5372c75cac58c952443eb22322f57bbd7f53977d497d tokens.txt
    """),
    Files(
        f"{_HUB}/csukuangfj/sherpa-onnx-nemo-parakeet-tdt-0.6b-v2-int8/resolve/1ab9323565ddb038682214b292f588070a538ce2"
    ),
    Archive(
        f"{_RELEASES}/sherpa-onnx-nemo-parakeet-tdt-0.6b-v2-int8.tar.bz2",
        482_468_385,
        "157c157bc51155e03e37d2466522a3a737dd9c72bb25f36eb18912964161e1ad",
    ),
    converted_by="the sherpa-onnx project",
)
_V3_ONNX = _parakeet(
    "v3",
    "-onnx",
    _files("""
        652183999 6139d2fa7e1b086097b277c7149725edbab89cc7c7ae64b23c741be4055aff09 encoder-model.int8.onnx
        18202004 eea7483ee3d1a30375daedc8ed83e3960c91b098812127a0d99d1c8977667a70 decoder_joint-model.int8.onnx
        93939 d58544679ea4bc6ac563d1f545eb7d474bd6cfa467f0a6e2c1dc1c7d37e3c35d vocab.txt
        97 666903c76b9798caf2c210afd4f6cd60b08a8dbf9800ec8d7a3bc0d2148ac466 config.json
        139764 a9fde1486ebfcc08f328d75ad4610c67835fea58c73ba57e3209a6f6cf019e9f nemo128.onnx
    """),
    Files(f"{_HUB}/istupakov/parakeet-tdt-0.6b-v3-onnx/resolve/8f23f0c03c8761650bdb5b40aaf3e40d2c15f1ce"),
    converted_by="Ilya Stupakov",
)
_V2_ONNX = _parakeet(
    "v2",
    "-onnx",
    _files("""
        652184014 3e0581fda6ab843888b51e56d7ee78b6d5bc3237ec113af1f732d1d5286aa155 encoder-model.int8.onnx
        8998286 a449f49acd68979d418651dd2dcb737cc0f1bf0225e009e29ee326354edbf7d3 decoder_joint-model.int8.onnx
        9384 ec182b70dd42113aff6c5372c75cac58c952443eb22322f57bbd7f53977d497d vocab.txt
        97 666903c76b9798caf2c210afd4f6cd60b08a8dbf9800ec8d7a3bc0d2148ac466 config.json
        139764 a9fde1486ebfcc08f328d75ad4610c67835fea58c73ba57e3209a6f6cf019e9f nemo128.onnx
    """),
    Files(f"{_HUB}/istupakov/parakeet-tdt-0.6b-v2-onnx/resolve/0bbb45a3365852604aef28b538a8f066f4ccaa85"),
    converted_by="Ilya Stupakov",
)

MODELS: Mapping[str, Model] = {model.name: model for model in (_V3, _V2, _V3_ONNX, _V2_ONNX)}
"""Every row, by name."""
DEFAULT_MODEL = _V3.name
"""What `stt-server download` fetches when nothing is named."""
