import re
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import pytest
from support.builds import builds_folder

from ulmkit.kernels.cuda import compiler
from ulmkit.kernels.cuda.compiler import CompilerError, Source, cache_folder, compile_source, machine_code
from ulmkit.kernels.cuda.driver import Device
from ulmkit.kernels.cuda.plan import plans
from ulmkit.safe_writes import atomic_write

try:
    compiler.load_nvrtc()
    needs_nvrtc = pytest.mark.skipif(False, reason="")
except CompilerError as error:
    needs_nvrtc = pytest.mark.skipif(True, reason=str(error))

STEPS = Source.of("lstm_steps.cu", BF16=1)
DEVICES = {  # as their makers state them: multiprocessors, shared memory that a block can have
    "A100": Device("sm_80", 108, 166_912, clusters=False, cooperative=True),
    "RTX 3090": Device("sm_86", 82, 101_376, clusters=False, cooperative=True),
    "L4": Device("sm_89", 58, 101_376, clusters=False, cooperative=True),
    "H200": Device("sm_90a", 132, 232_448, clusters=True, cooperative=True),
    "B200": Device("sm_100a", 148, 232_448, clusters=True, cooperative=True),
    "RTX 5090": Device("sm_120a", 170, 101_376, clusters=True, cooperative=True),
}
REGISTERS = 65_536  # of a multiprocessor
SHAPES = [("BF16", 64, 400), *(("BF16", batch, 1152) for batch in (20, 64, 80, 128)), ("FP16", 64, 1024)]
EVERYDAY = [("H200", shape) for shape in SHAPES] + [(name, ("BF16", 64, 1152)) for name in DEVICES if name != "H200"]
CASES = [  # a few seconds each: all shapes of one device, one shape of the others
    pytest.param(name, *shape, marks=[] if (name, shape) in EVERYDAY else pytest.mark.slow)
    for name in DEVICES
    for shape in SHAPES
]
DTYPES = ["BF16", "FP16", "FP32"]
SIMPLE_CASES = [  # each pair of a kernel, an architecture and a type
    (name, device.architecture, DTYPES[(kernel + number) % len(DTYPES)])
    for kernel, name in enumerate(["cross_entropy", "regularization", "masks"])
    for number, device in enumerate(DEVICES.values())
]


def compile_once(source: Source, architecture: str) -> tuple[bytes, str]:
    """Return a kernel's machine code and the report of registers and spills; it is compiled in the first run alone."""
    file = builds_folder() / f"{compiler.cache_key(source, architecture)}.cubin"
    report = file.with_suffix(".report")
    if not report.exists():
        code, messages = compile_source(source, architecture, "--ptxas-options=-v")
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file, "wb") as out:
            out.write(code)
        with atomic_write(report) as out:
            out.write(messages)
    return file.read_bytes(), report.read_text()


def check_compiles_without_spills(plan, device):
    _, said = compile_once(plan.source, device.architecture)
    registers = int(re.search(r"Used (\d+) registers", said).group(1))
    assert registers * plan.launch.threads <= REGISTERS
    assert plan.launch.shared_bytes <= device.shared_bytes
    assert plan.launch.blocks <= device.multiprocessors
    assert re.findall(r"(\d+) bytes spill", said) == ["0", "0"], said


@needs_nvrtc
@pytest.mark.parametrize(("name", "dtype", "batch", "hidden"), CASES)
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_persistent_kernels_compile_without_spills(name, direction, dtype, batch, hidden):
    device = DEVICES[name]
    found = plans(direction, dtype, batch, hidden, device)
    if not found:
        few = device.multiprocessors < 100 and direction == "forward" and batch >= 80
        assert few, "only with few multiprocessors a block's part of a large layer is too much for its registers"
        return
    check_compiles_without_spills(found[0], device)


@needs_nvrtc
@pytest.mark.parametrize("cluster", [2, 1])
@pytest.mark.parametrize("batch", [20, 64, 80, 128])
def test_fallbacks_to_smaller_clusters_compile_without_spills(batch, cluster):
    device = DEVICES["H200"]
    found = [plan for plan in plans("backward", "BF16", batch, 1152, device) if plan.launch.cluster <= cluster]
    check_compiles_without_spills(found[0], device)


@needs_nvrtc
@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("name", ["B200", "RTX 5090"])
def test_persistent_kernels_use_no_architecture_specific_features(name, direction):
    device = replace(DEVICES[name], architecture=DEVICES[name].architecture.removesuffix("a"))
    check_compiles_without_spills(plans(direction, "BF16", 64, 1152, device)[0], device)


@needs_nvrtc
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("architecture", [device.architecture for device in DEVICES.values()])
def test_the_step_by_step_kernels_compile(architecture, dtype):
    code, said = compile_once(Source.of("lstm_steps.cu", **{dtype: 1}), architecture)
    assert code[:4] == b"\x7fELF"
    assert set(re.findall(r"(\d+) bytes spill", said)) == {"0"}
    for kernel in (
        b"begin_forward",
        b"forward_step",
        b"begin_backward",
        b"backward_step",
        b"advance",
    ):
        assert kernel in code


@needs_nvrtc
@pytest.mark.parametrize(("name", "architecture", "dtype"), SIMPLE_CASES)
def test_the_simple_kernels_compile(name, architecture, dtype):
    code, said = compile_once(Source.of(f"{name}.cu", **{dtype: 1}), architecture)
    assert code[:4] == b"\x7fELF"
    assert set(re.findall(r"(\d+) bytes spill", said)) == {"0"}
    registers = [int(number) for number in re.findall(r"Used (\d+) registers", said)]
    assert max(registers) <= 64, "four blocks and more should be on a multiprocessor"


@needs_nvrtc
def test_a_refused_source_raises_with_the_compilers_log(tmp_path):
    with pytest.raises(CompilerError, match=r"(?s)lstm_forward.cu: NVRTC refuses it for sm_90a.*ULMKIT_UNITS"):
        machine_code(Source.of("lstm_forward.cu", BF16=1), "sm_90a", tmp_path)
    assert list(tmp_path.iterdir()) == []


@needs_nvrtc
def test_code_is_compiled_once_and_kept(tmp_path, monkeypatch):
    code = machine_code(STEPS, "sm_80", tmp_path)
    (file,) = tmp_path.iterdir()
    assert file.name.startswith("lstm_steps-sm_80-")
    monkeypatch.setattr(compiler, "compile_source", lambda *_: pytest.fail("compiled again"))
    assert machine_code(STEPS, "sm_80", tmp_path) == code


def compiled(monkeypatch, code: bytes = b"code", version: str = "13.0") -> list[Source]:
    """Stands in for NVRTC. Returns: what was compiled."""
    asked: list[Source] = []

    def compile_source(source, architecture, *options):
        asked.append(source)
        return code, ""

    monkeypatch.setattr(compiler, "compile_source", compile_source)
    monkeypatch.setattr(compiler, "compiler_version", lambda: version)
    return asked


def test_other_constants_architectures_compilers_or_texts_are_other_files(tmp_path, monkeypatch):
    asked = compiled(monkeypatch)
    machine_code(STEPS, "sm_80", tmp_path)
    machine_code(Source.of("lstm_steps.cu", FP16=1), "sm_80", tmp_path)
    machine_code(STEPS, "sm_90a", tmp_path)
    monkeypatch.setattr(compiler, "compiler_version", lambda: "13.5")
    machine_code(STEPS, "sm_80", tmp_path)
    texts = {name: text + b"\n" for name, text in compiler._texts().items()}
    monkeypatch.setattr(compiler, "_texts", lambda: texts)
    machine_code(STEPS, "sm_80", tmp_path)
    assert len(asked) == len(list(tmp_path.iterdir())) == 5


def test_an_unwritable_cache_only_costs_time(tmp_path, monkeypatch):
    asked = compiled(monkeypatch)
    (tmp_path / "file").write_text("not a folder")
    for _ in range(2):
        assert machine_code(STEPS, "sm_80", tmp_path / "file") == b"code"
    assert len(asked) == 2


def test_location_of_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ULMKIT_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own" / "cuda"
    monkeypatch.delenv("ULMKIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "ulmkit" / "cuda"


@needs_nvrtc
def test_several_processes_share_a_cache(tmp_path):
    with ProcessPoolExecutor(2, get_context("fork")) as processes:
        codes = [processes.submit(machine_code, STEPS, "sm_80", tmp_path) for _ in range(2)]
    (file,) = tmp_path.iterdir()
    assert [code.result() for code in codes] == [file.read_bytes()] * 2


def test_without_nvrtc_it_says_what_to_install(monkeypatch):
    compiler.load_nvrtc.cache_clear()
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(CompilerError, match="NVRTC: is not installed .*install cuda-bindings and nvidia-cuda-nvrtc"):
        compiler.load_nvrtc()
    compiler.load_nvrtc.cache_clear()


@needs_nvrtc
def test_the_compilers_log_does_not_overwrite_shared_bytes_objects():
    """A bytes object of one character is the same one everywhere."""
    compile_source(STEPS, "sm_80")
    assert bytes([32])[0] == 32
