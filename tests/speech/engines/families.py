"""Models of other families that sherpa-onnx loads and runs: a few operators each, with the inputs, outputs, states and
metadata of the published ones.

Instead of words they know two tones: a burst near 300 Hz is the word `low`, one near 3,000 Hz `high`. What they
answer therefore follows from the sound alone.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, numpy_helper, parser

from stt_server.speech.engines.features import Float32

LOW, HIGH = 300.0, 3000.0
"""Hz."""
WORDS = ("low", "high", "grave", "aigu")
"""All there are; the last two are Whisper's French."""
BURST, REST = 0.4, 0.6
"""Seconds of a tone, and of silence before it."""


def tones(words: str) -> Float32:
    """A recording of the words `low` and `high`; any other is a silence as long."""
    seconds = np.arange(round(BURST * 16_000)) / 16_000
    pitches = {"low": LOW, "high": HIGH}
    swell = 0.3 * np.sin(np.pi * seconds / BURST)  # a sudden tone has all pitches for a moment
    parts = [np.zeros(0)]
    for word in words.split():
        tone = swell * np.sin(2 * np.pi * pitches.get(word, 0.0) * seconds)
        parts += [np.zeros(round(REST * 16_000)), tone]
    return np.concatenate([*parts, np.zeros(round(REST * 16_000))]).astype(np.float32)


def _model(
    text: str, metadata: Mapping[str, object] | None = None, weights: Mapping[str, Float32] | None = None
) -> ModelProto:
    """A graph in ONNX's own notation; its weights replace those declared in it."""
    model = parser.parse_model('<ir_version: 8, opset_import: ["": 17]>\n' + text)
    for key, value in (metadata or {}).items():
        model.metadata_props.add(key=key, value=str(value))
    for name, value in (weights or {}).items():
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    onnx.checker.check_model(model)
    return model


def _write(folder: Path, models: Mapping[str, ModelProto], tokens: Sequence[str], name: str = "tokens.txt") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for file, model in models.items():
        onnx.save(model, folder / file)
    (folder / name).write_text("".join(f"{token} {number}\n" for number, token in enumerate(tokens)))
    return folder


_FLAGS = """
  zero = Constant<value = int64[1] {0}>()
  one = Constant<value = int64[1] {1}>()
  last = Constant<value = int64[1] {-1}>()
  low_from = Constant<value = int64[1] {5}>()
  low_to = Constant<value = int64[1] {17}>()
  high_from = Constant<value = int64[1] {48}>()
  high_to = Constant<value = int64[1] {62}>()
  axis = Constant<value = int64[1] {2}>()
  low_bins = Slice(mels, low_from, low_to, axis)
  high_bins = Slice(mels, high_from, high_to, axis)
  low_level = ReduceMax<axes = [2], keepdims = 1>(low_bins)
  high_level = ReduceMax<axes = [2], keepdims = 1>(high_bins)
  low_louder = Greater(low_level, high_level)
  high_louder = Greater(high_level, low_level)
  low_loud = Greater(low_level, threshold)
  high_loud = Greater(high_level, threshold)
  low_flag = And(low_louder, low_loud)
  high_flag = And(high_louder, high_loud)
  flags_bool = Concat<axis = 2>(low_flag, high_flag)
  flags = Cast<to = 1>(flags_bool)
"""
"""`mels` (N, T, 80) -> `flags` (N, T, 2): whether there is the low, and the high tone."""

_ONSETS = """
  time = Constant<value = int64[1] {1}>()
  pads = Constant<value = int64[6] {0, 1, 0, 0, 0, 0}>()
  shifted = Pad(flags, pads)
  before = Slice(shifted, zero, last, time)
  rises = Sub(flags, before)
  onsets = Relu(rises)
"""
"""`flags` -> `onsets`, of the same shape: 1 where a tone begins."""


# -- Zipformer ---------------------------------------------------------------------------------------


def zipformer(folder: Path, **metadata: object) -> Path:
    """A transducer of icefall: a token where a tone begins."""
    encoder = _model(
        f"""zipformer (float[N,T,80] x, int64[N] x_lens) => (float[N,U,2] encoder_out, int64[N] encoder_out_lens) {{
          mels = Identity(x)
          threshold = Constant<value = float {{0.0}}>()
          {_FLAGS}
          {_ONSETS}
          shape = Shape(onsets)
          frames = Gather(shape, time)
          four = Constant<value = int64[1] {{4}}>()
          three = Constant<value = int64[1] {{3}}>()
          missing_more = Mod(frames, four)
          missing = Sub(four, missing_more)
          head = Constant<value = int64[4] {{0, 0, 0, 0}}>()
          all_pads = Concat<axis = 0>(head, missing, zero)
          padded = Pad(onsets, all_pads)
          fours_shape = Constant<value = int64[4] {{0, -1, 4, 2}}>()
          fours = Reshape(padded, fours_shape)
          encoder_out = ReduceMax<axes = [2], keepdims = 0>(fours)
          more = Add(x_lens, three)
          encoder_out_lens = Div(more, four)
        }}""",
        {"model_type": "zipformer2", "version": 1, "model_author": "k2-fsa", "comment": "non-streaming zipformer2"}
        | metadata,
    )
    decoder = _model(
        """decoder (int64[N,2] y) => (float[N,2] decoder_out) {
          context = Cast<to = 1>(y)
          nothing = Constant<value = float {0.0}>()
          decoder_out = Mul(context, nothing)
        }""",
        {"context_size": 2, "vocab_size": 4},
    )
    joiner = _model(
        """joiner (float[N,2] encoder_out, float[N,2] decoder_out) => (float[N,4] logit) {
          both = Add(encoder_out, decoder_out)
          weights = Constant<value = float[2,4] {0.0, 0.0, 8.0, 0.0, 0.0, 0.0, 0.0, 8.0}>()
          bias = Constant<value = float[4] {4.0, -9.0, 0.0, 0.0}>()
          product = MatMul(both, weights)
          logit = Add(product, bias)
        }""",
        {"joiner_dim": 2},
    )
    names = ("encoder-epoch-99-avg-1.int8.onnx", "decoder-epoch-99-avg-1.onnx", "joiner-epoch-99-avg-1.int8.onnx")
    return _write(
        folder, dict(zip(names, (encoder, decoder, joiner), strict=True)), ("<blk>", "<unk>", "▁low", "▁high")
    )


# -- NeMo CTC ----------------------------------------------------------------------------------------


def nemo_ctc(folder: Path, *, scores: str = "LogSoftmax<axis = 2>(logits)", **metadata: object) -> Path:
    """A CTC model of NeMo: every frame of a tone is its token."""
    model = _model(
        f"""ctc (float[N,80,T] audio_signal, int64[N] length) => (float[N,U,3] logprobs) {{
          mels = Transpose<perm = [0, 2, 1]>(audio_signal)
          threshold = Constant<value = float {{0.5}}>()
          {_FLAGS}
          far = Constant<value = int64[1] {{1000000}}>()
          time = Constant<value = int64[1] {{1}}>()
          step = Constant<value = int64[1] {{8}}>()
          some = Slice(flags, zero, far, time, step)
          weights = Constant<value = float[2,3] {{8.0, 0.0, 0.0, 0.0, 8.0, 0.0}}>()
          bias = Constant<value = float[3] {{0.0, 0.0, 4.0}}>()
          product = MatMul(some, weights)
          logits = Add(product, bias)
          logprobs = {scores}
        }}""",
        {
            "model_type": "EncDecCTCModelBPE",
            "vocab_size": 2,
            "subsampling_factor": 8,
            "normalize_type": "per_feature",
            "version": 1,
            "model_author": "NeMo",
        }
        | metadata,
    )
    return _write(folder, {"model.int8.onnx": model}, ("▁low", "▁high", "<blk>"))


def deadly(folder: Path) -> Path:
    """One that fits by all that can be seen from outside, and ends the process: its answer has one axis, not three."""
    return nemo_ctc(folder, scores="ReduceMax<axes = [1, 2], keepdims = 0>(logits)")


# -- Whisper -----------------------------------------------------------------------------------------

_NTH = """
  counts = ReduceSum(onsets, axis)
  upto_column = CumSum(counts, time_scalar)
"""
"""`onsets` (1, T, 2) -> `upto_column` (1, T, 1): how many tones have begun by then."""

_FIND = """
  third = Constant<value = int64[1] {2}>()
  end = Constant<value = int64[1] {3}>()
  onsets = Slice(states, zero, two, third)
  upto = Slice(states, two, end, third)
  wanted = Cast<to = 1>(number)
  is_wanted = Equal(upto, wanted)
  wanted_here = Cast<to = 1>(is_wanted)
  found_there = Mul(onsets, wanted_here)
  found = ReduceSum<keepdims = 0>(found_there, first)
  any = ReduceSum<keepdims = 1>(found, first)
  whole = Constant<value = float {1.0}>()
  none = Sub(whole, any)
"""
"""`states` (1, T, 3) and `number` (1,) -> `found` (1, 2): which tone is that number; `none` (1, 1): it is not there."""

_SPECIAL = {"eot": 4, "sot": 5, "en": 6, "fr": 7, "translate": 8, "transcribe": 9, "no_speech": 10, "no_timestamps": 11}
_VOCABULARY = 12 + 1501


def whisper(folder: Path, *, multilingual: bool = True, **metadata: object) -> Path:
    """A Whisper with two languages: French calls the tones `grave` and `aigu`. What begins low is English."""
    encoder = _model(
        f"""encoder (float[N,80,T] mel) => (float[1,N,T,3] n_layer_cross_k, float[1,N,T,3] n_layer_cross_v) {{
          mels = Transpose<perm = [0, 2, 1]>(mel)
          threshold = Constant<value = float {{0.9}}>()
          time_scalar = Constant<value = int64 {{1}}>()
          {_FLAGS}
          {_ONSETS}
          {_NTH}
          states = Concat<axis = 2>(onsets, upto_column)
          n_layer_cross_k = Unsqueeze(states, zero)
          n_layer_cross_v = Identity(n_layer_cross_k)
        }}""",
        {
            "model_type": "whisper-tiny" if multilingual else "whisper-tiny.en",
            "version": 1,
            "maintainer": "k2-fsa",
            "n_mels": 80,
            "n_audio_ctx": 1500,
            "n_audio_state": 3,
            "n_audio_head": 1,
            "n_audio_layer": 1,
            "n_vocab": _VOCABULARY,
            "n_text_ctx": 448,
            "n_text_state": 3,
            "n_text_head": 1,
            "n_text_layer": 1,
            "sot_sequence": "5,6,9" if multilingual else "5",
            "all_language_tokens": "6,7",
            "all_language_codes": "en,fr",
            "sot": 5,
            "sot_index": 0,
            "eot": 4,
            "blank_id": 0,
            "is_multilingual": int(multilingual),
            "no_speech": 10,
            "non_speech_tokens": "1,2",
            "transcribe": 9,
            "translate": 8,
            "sot_prev": 0,
            "sot_lm": 0,
            "no_timestamps": 11,
        }
        | metadata,
    )
    decoder = _model(
        f"""decoder (int64[1,n] tokens, float[1,1,448,3] in_n_layer_self_k_cache,
                     float[1,1,448,3] in_n_layer_self_v_cache, float[1,1,T,3] n_layer_cross_k,
                     float[1,1,T,3] n_layer_cross_v, int64[1] offset)
            => (float[1,n,V] logits, float[1,1,448,3] out_n_layer_self_k_cache,
                float[1,1,448,3] out_n_layer_self_v_cache) {{
          two = Constant<value = int64[1] {{2}}>()
          length = Shape<start = 1>(tokens)
          past = Add(offset, length)
          before_text = Constant<value = int64[1] {{{3 if multilingual else 1}}}>()
          position = Sub(past, before_text)
          first = Constant<value = int64[1] {{1}}>()
          number = Max(position, first)
          zero = Constant<value = int64[1] {{0}}>()
          states = Squeeze(n_layer_cross_k, zero)
          {_FIND}
          french_id = Constant<value = int64[1] {{{_SPECIAL["fr"]}}}>()
          is_french = Equal(tokens, french_id)
          french_now = Cast<to = 1>(is_french)
          french_said = ReduceMax<keepdims = 0>(french_now)
          out_n_layer_self_k_cache = Max(in_n_layer_self_k_cache, french_said)
          out_n_layer_self_v_cache = Identity(in_n_layer_self_v_cache)
          french = ReduceMax<keepdims = 0>(out_n_layer_self_k_cache)
          unit = Constant<value = float {{1.0}}>()
          english = Sub(unit, french)
          in_english = Mul(found, english)
          in_french = Mul(found, french)
          choices = Concat<axis = 1>(in_english, in_french, none)
          row = MatMul(choices, table)
          row_at = Unsqueeze(row, first)
          rows_shape = Concat<axis = 0>(first, length, first)
          logits = Expand(row_at, rows_shape)
        }}""",
        weights={"table": _whisper_table()},
    )
    prefix = "tiny" if multilingual else "tiny.en"
    graphs = {f"{prefix}-encoder.int8.onnx": encoder, f"{prefix}-decoder.int8.onnx": decoder}
    tokens = [base64.b64encode(text.encode()).decode() for text in (f" {word}" for word in WORDS)]
    return _write(folder, graphs, tokens, f"{prefix}-tokens.txt")


def _whisper_table() -> Float32:
    """From (low, high, grave, aigu, nothing more) to scores of tokens and, lower, of languages."""
    table = np.zeros((5, _VOCABULARY), np.float32)
    table[range(5), range(5)] = 10.0
    table[0, _SPECIAL["en"]] = table[1, _SPECIAL["fr"]] = 5.0
    return table


# -- Moonshine ---------------------------------------------------------------------------------------


def moonshine(folder: Path) -> Path:
    """A Moonshine of the first generation: four graphs, from the sound itself, without metadata."""
    preprocess = _model(
        f"""preprocess (float[1,n] audio) => (float[1,T,3] features) {{
          zero = Constant<value = int64[1] {{0}}>()
          last = Constant<value = int64[1] {{-1}}>()
          first = Constant<value = int64[1] {{1}}>()
          axis = Constant<value = int64[1] {{2}}>()
          channel = Unsqueeze(audio, first)
          head = Constant<value = int64[5] {{0, 0, 0, 0, 0}}>()
          frame = Constant<value = int64[1] {{384}}>()
          sound_pads = Concat<axis = 0>(head, frame)
          padded = Pad(channel, sound_pads)
          parts = Conv<strides = [384]>(padded, waves)
          power = Mul(parts, parts)
          pairs_shape = Constant<value = int64[4] {{1, 2, 2, -1}}>()
          pairs = Reshape(power, pairs_shape)
          powers = ReduceSum<keepdims = 0>(pairs, axis)
          levels = Transpose<perm = [0, 2, 1]>(powers)
          loudest = ReduceMax<axes = [2], keepdims = 1>(levels)
          threshold = Constant<value = float {{50.0}}>()
          loud = Greater(levels, threshold)
          best = Equal(levels, loudest)
          both = And(loud, best)
          flags = Cast<to = 1>(both)
          time_scalar = Constant<value = int64 {{1}}>()
          {_ONSETS}
          {_NTH}
          features = Concat<axis = 2>(onsets, upto_column)
        }}""",
        weights={"waves": _waves(384)},
    )
    encode = _model(
        """encode (float[1,T,3] features, int32[1] features_len) => (float[1,T,3] encoder_out) {
          zero = Constant<value = float {0.0}>()
          length = Cast<to = 1>(features_len)
          nothing = Mul(length, zero)
          encoder_out = Add(features, nothing)
        }"""
    )
    decode = f"""
          number = Cast<to = 7>(seq_len)
          states = Identity(encoder_out)
          zero = Constant<value = int64[1] {{0}}>()
          first = Constant<value = int64[1] {{1}}>()
          two = Constant<value = int64[1] {{2}}>()
          {_FIND}
          choices = Concat<axis = 1>(found, none)
          row = MatMul(choices, table)
          logits = Unsqueeze(row, first)
    """
    uncached = _model(
        f"""uncached (int32[1,1] token, float[1,T,3] encoder_out, int32[1] seq_len)
            => (float[1,1,5] logits, float[1,1] state) {{
          {decode}
          state = Cast<to = 1>(token)
        }}""",
        weights={"table": _MOONSHINE_TABLE},
    )
    cached = _model(
        f"""cached (int32[1,1] token, float[1,T,3] encoder_out, int32[1] seq_len, float[1,1] past)
            => (float[1,1,5] logits, float[1,1] state) {{
          {decode}
          state = Identity(past)
        }}""",
        weights={"table": _MOONSHINE_TABLE},
    )
    graphs = {
        "preprocess.onnx": preprocess,
        "encode.int8.onnx": encode,
        "uncached_decode.int8.onnx": uncached,
        "cached_decode.int8.onnx": cached,
    }
    return _write(folder, graphs, ("<unk>", "<s>", "</s>", "▁low", "▁high"))


_MOONSHINE_TABLE = np.array([[0, 0, 0, 9, 0], [0, 0, 0, 0, 9], [0, 0, 9, 0, 0]], np.float32)


def _waves(length: int) -> Float32:
    """A cosine and a sine of each pitch, as weights of a convolution."""
    turns = [2 * np.pi * pitch * np.arange(length) / 16_000 for pitch in (LOW, HIGH)]
    return np.array([[wave(turn)] for turn in turns for wave in (np.cos, np.sin)], np.float32)


FAMILIES: dict[str, Callable[[Path], Path]] = {
    "zipformer": zipformer,
    "nemo ctc": nemo_ctc,
    "whisper": whisper,
    "moonshine": moonshine,
}
