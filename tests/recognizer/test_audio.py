"""The gate: every way a clip can be bad, and that what passes it is the sound that was sent."""

import io
import struct
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from recognizer.audio import (
    CORPUS_FORMATS,
    MAX_BYTES,
    AudioError,
    AudioFormat,
    AudioTooLarge,
    BrokenAudio,
    Clipped,
    EmptyAudio,
    NoSpeech,
    NotFinite,
    TooLong,
    TooShort,
    UnsupportedAudio,
    UnsupportedChannels,
    UnsupportedRate,
    decode,
    decode_pcm16,
    fit_window,
    read_clip,
)
from recognizer.decision import OUTCOME_OF, Outcome

WANTED = AudioFormat()


def sine(hertz: float = 1000.0, *, rate: int = 16_000, seconds: float = 0.5, peak: float = 0.5) -> NDArray[np.float64]:
    return peak * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


def encode(samples: ArrayLike, rate: int = 16_000, container: str = "WAV", subtype: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.asarray(samples), rate, format=container, subtype=subtype)
    return file.getvalue()


def with_bytes(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def frequency_of(waveform: NDArray[np.float32], rate: int) -> float:
    """Hertz of the strongest partial, by the longest zero-padded spectrum that is cheap."""
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform)), 1 << 18))
    return float(np.argmax(spectrum)) * rate / (1 << 18)


# The sender's errors


def test_refuses_no_bytes() -> None:
    with pytest.raises(EmptyAudio, match="send a WAV or FLAC"):
        decode(b"", WANTED)
    with pytest.raises(EmptyAudio):
        decode_pcm16(b"", WANTED, sample_rate=16_000)


def test_refuses_more_than_a_mebibyte_but_takes_exactly_one() -> None:
    wav = encode(sine(seconds=1.0))
    padded = wav + bytes(MAX_BYTES - len(wav))
    assert decode(padded, WANTED).seconds == 1.0
    with pytest.raises(AudioTooLarge, match="1,048,577 bytes; at most 1,048,576"):
        decode(padded + b"\0", WANTED)
    with pytest.raises(AudioTooLarge):
        decode_pcm16(bytes(MAX_BYTES + 2), WANTED, sample_rate=16_000)


@pytest.mark.parametrize("data", [b"turn left, please", b"\0", b"RIFF", b"RIFF\x24\0\0\0AVI ", b"\xff", b"\x80\x04]"])
def test_refuses_what_is_no_audio_file(data: bytes) -> None:
    with pytest.raises(UnsupportedAudio, match="no audio file that is known; FLAC, WAV are accepted"):
        decode(data, WANTED)


@pytest.mark.parametrize("container", ["AIFF", "AU", "CAF", "W64", "RF64"])
def test_refuses_containers_that_libsndfile_knows_but_we_do_not(container: str) -> None:
    with pytest.raises(UnsupportedAudio):
        decode(encode(sine(), container=container), WANTED, formats=CORPUS_FORMATS)


@pytest.mark.parametrize(("container", "subtype"), [("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"), ("OGG", "OPUS")])
def test_lossy_containers_are_for_corpora_and_never_served(container: str, subtype: str) -> None:
    data = encode(sine(), container=container, subtype=subtype)
    with pytest.raises(UnsupportedAudio, match=f"this is {container}; FLAC, WAV are accepted"):
        decode(data, WANTED)
    clip = decode(data, WANTED, formats=CORPUS_FORMATS)
    assert frequency_of(clip.waveform, 16_000) == pytest.approx(1000, abs=3)


@pytest.mark.parametrize("subtype", ["IMA_ADPCM", "MS_ADPCM", "GSM610"])
def test_refuses_rare_codecs_inside_wav(subtype: str) -> None:
    with pytest.raises(UnsupportedAudio, match=f"WAV with {subtype} samples is not accepted"):
        decode(encode(sine(), subtype=subtype), WANTED)


@pytest.mark.parametrize("rate", [1, 7_999, 48_001, 192_000])
def test_refuses_rates_outside_8_to_48_khz(rate: int) -> None:
    lying = with_bytes(encode(sine()), 24, struct.pack("<I", rate))
    with pytest.raises(UnsupportedRate, match=f"{rate:,} Hz; 8,000 to 48,000 Hz"):
        decode(lying, WANTED)
    with pytest.raises(UnsupportedRate):
        decode_pcm16(bytes(3200), WANTED, sample_rate=rate)


@pytest.mark.parametrize("channels", [3, 96])
def test_refuses_more_than_two_channels(channels: int) -> None:
    with pytest.raises(UnsupportedChannels, match=f"{channels} channels; 1 or 2 are accepted"):
        decode(encode(np.zeros((1600, channels))), WANTED)
    with pytest.raises(UnsupportedChannels):
        decode_pcm16(bytes(192), WANTED, sample_rate=16_000, channels=channels)


@pytest.mark.parametrize("channels", [0, -1])
def test_refuses_l16_without_channels(channels: int) -> None:
    with pytest.raises(UnsupportedChannels):
        decode_pcm16(bytes(192), WANTED, sample_rate=16_000, channels=channels)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -1.01])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_refuses_float_samples_that_are_no_amplitudes(value: float, subtype: str) -> None:
    samples = sine()
    samples[3] = value
    with pytest.raises(NotFinite, match=r"amplitudes in \[-1, 1\]"):
        decode(encode(samples, subtype=subtype), WANTED)


def test_a_hair_above_full_scale_is_cut_to_it() -> None:
    samples = sine()
    samples[3] = 1.0005
    assert decode(encode(samples, subtype="FLOAT"), WANTED).waveform.max() == 1.0


@pytest.mark.parametrize("length", [12, 20, 30, 36])
def test_refuses_a_wav_cut_off_in_its_header(length: int) -> None:
    with pytest.raises(AudioError):
        decode(encode(sine())[:length], WANTED)


@pytest.mark.parametrize("cut", [1, 2, 1000, 31_000])
def test_a_wav_cut_off_in_its_samples_is_refused(cut: int) -> None:
    whole = encode(sine(seconds=1.0))
    with pytest.raises(BrokenAudio, match="cut off: 32,000 bytes of samples were to come"):
        decode(whole[:-cut], WANTED)


@pytest.mark.parametrize("placeholder", [0, 0xFFFFFFFF])
def test_a_streamed_wav_that_could_not_know_its_size_is_as_long_as_what_came(placeholder: int) -> None:
    whole = bytearray(encode(sine(seconds=0.5)))
    assert whole[36:40] == b"data"
    whole[40:44] = placeholder.to_bytes(4, "little")
    if placeholder:
        assert decode(bytes(whole), WANTED).seconds == 0.5
    else:
        with pytest.raises((BrokenAudio, TooShort)):  # libsndfile takes 0 at its word
            decode(bytes(whole), WANTED)


@pytest.mark.parametrize(("container", "subtype"), [("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS")])
def test_a_loud_clip_of_a_corpus_is_heard_though_its_decoder_overshoots(container: str, subtype: str) -> None:
    rng = np.random.default_rng(0)
    loud = np.sign(sine()) * rng.uniform(0.2, 0.999, len(sine()))
    data = encode(loud, container=container, subtype=subtype)
    assert np.abs(soundfile.read(io.BytesIO(data))[0]).max() > 1.01
    clip = decode(data, WANTED, formats=CORPUS_FORMATS)
    assert float(np.abs(clip.waveform).max()) <= 1.0


def test_a_flac_cut_off_gives_an_error_or_what_came() -> None:
    whole = encode(np.random.default_rng(0).uniform(-0.5, 0.5, 16_000), container="FLAC")
    for length in range(4, len(whole), len(whole) // 40):
        try:
            clip = decode(whole[:length], WANTED)
        except AudioError:
            continue
        assert len(clip.waveform) <= 16_000
        assert clip.waveform.any()


# Claims that would cost memory or time


def test_ten_minutes_of_flac_silence_are_too_long_at_once_and_in_little_memory() -> None:
    bomb = encode(np.zeros(600 * 16_000, dtype=np.int16), container="FLAC")
    assert len(bomb) < 100_000
    tracemalloc.start()
    began = time.perf_counter()
    with pytest.raises(TooLong, match=r"more than 5\.0 s"):
        decode(bomb, WANTED)
    seconds = time.perf_counter() - began
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 0.5
    assert peak < 4 * 4 * 5 * 16_000  # a few times the five seconds it may read; all of it would be 38 MB


def test_a_flac_that_claims_2_to_the_36_samples_costs_nothing() -> None:
    honest = encode(sine(), container="FLAC")
    streaminfo = int.from_bytes(honest[18:26], "big")
    assert streaminfo & (2**36 - 1) == 8000
    lying = with_bytes(honest, 18, (streaminfo | (2**36 - 1)).to_bytes(8, "big"))
    assert soundfile.info(io.BytesIO(lying)).frames == 2**36 - 1
    tracemalloc.start()
    try:
        clip = decode(lying, WANTED)
    except AudioError:
        clip = None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 4 * 5 * 16_000
    assert clip is None or clip.seconds == 0.5


def test_a_wav_that_claims_4_gigabytes_is_as_long_as_what_came() -> None:
    assert decode(with_bytes(encode(sine()), 40, b"\xff" * 4), WANTED).seconds == 0.5


# Clips one abstains on


def test_length_limits_include_their_ends() -> None:
    assert decode(encode(sine(seconds=0.1)), WANTED).seconds == 0.1
    assert decode(encode(sine(seconds=5.0)), WANTED).seconds == 5.0
    with pytest.raises(TooShort, match=r"lasts 0\.099 s; at least 0\.1 s"):
        decode(encode(sine(seconds=0.0994)), WANTED)
    with pytest.raises(TooLong):
        decode(encode(sine(seconds=5.001)), WANTED)


def test_a_file_without_samples_is_too_short() -> None:
    with pytest.raises(TooShort):
        decode(encode(np.zeros(0)), WANTED)


@pytest.mark.parametrize(
    "samples",
    [np.zeros(8000), np.full(8000, 0.4), sine(peak=0.0009), np.random.default_rng(0).uniform(-1, 1, 8000) * 0.0009],
    ids=["silence", "direct current", "a faint tone", "a faint hiss"],
)
def test_hears_no_speech_below_minus_60_dbfs(samples: NDArray[np.float64]) -> None:
    with pytest.raises(NoSpeech, match="-60 dBFS"):
        decode(encode(samples), WANTED)


def test_hears_a_whisper_just_above_minus_60_dbfs() -> None:
    assert decode(encode(sine(peak=0.0011)), WANTED).waveform.any()


def test_channels_that_cancel_are_silence() -> None:
    with pytest.raises(NoSpeech):
        decode(encode(np.stack([sine(), -sine()], axis=1)), WANTED)


def test_refuses_a_clip_with_more_than_a_tenth_at_full_scale() -> None:
    square = np.sign(sine(peak=1.0) + 1e-9)
    with pytest.raises(Clipped, match="100% of the samples are at full scale"):
        decode(encode(square), WANTED)
    few = sine()
    few[:800] = 1.0
    assert decode(encode(few), WANTED).waveform.max() > 0.999
    few[:801] = -1.0
    with pytest.raises(Clipped):
        decode(encode(few), WANTED)


def test_every_error_is_an_abstention_on_bad_input_or_a_client_error() -> None:
    for error in AudioError.__subclasses__():
        if error.reason is None:
            assert 400 <= error.status < 500
            assert error.title
        else:
            assert OUTCOME_OF[error.reason] is Outcome.BAD_INPUT


# What passes is the sound that was sent


@pytest.mark.parametrize(
    ("container", "subtype", "step"),
    [
        ("WAV", "PCM_U8", 2**-7),
        ("WAV", "PCM_16", 2**-15),
        ("WAV", "PCM_24", 2**-23),
        ("WAV", "PCM_32", 2**-23),  # float32 carries no more
        ("WAV", "FLOAT", 2**-23),
        ("WAV", "DOUBLE", 2**-23),
        ("WAV", "ULAW", 0.03),
        ("WAV", "ALAW", 0.03),
        ("WAVEX", "PCM_16", 2**-15),
        ("WAVEX", "FLOAT", 2**-23),
        ("FLAC", "PCM_S8", 2**-7),
        ("FLAC", "PCM_16", 2**-15),
        ("FLAC", "PCM_24", 2**-23),
    ],
)
def test_each_encoding_gives_the_samples_within_a_step(container: str, subtype: str, step: float) -> None:
    samples = sine(440)
    clip = decode(encode(samples, container=container, subtype=subtype), WANTED)
    assert clip.waveform.dtype == np.float32
    assert clip.waveform.flags.c_contiguous
    np.testing.assert_allclose(clip.waveform, samples, atol=step)


def test_stereo_becomes_the_mean_of_its_channels() -> None:
    left, right = sine(300), sine(900, peak=0.2)
    clip = decode(encode(np.stack([left, right], axis=1), subtype="FLOAT"), WANTED)
    np.testing.assert_allclose(clip.waveform, (left + right) / 2, atol=1e-7)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 32_000, 44_100, 48_000])
@pytest.mark.parametrize("container", ["WAV", "FLAC"])
def test_resampling_keeps_a_tone_its_level_and_the_length(rate: int, container: str) -> None:
    clip = decode(encode(sine(1000, rate=rate, seconds=0.8), rate, container), WANTED)
    assert (clip.seconds, clip.sample_rate) == (pytest.approx(0.8, abs=1e-4), rate)
    assert len(clip.waveform) == pytest.approx(12_800, abs=2)
    assert frequency_of(clip.waveform, 16_000) == pytest.approx(1000, abs=0.5)
    middle = clip.waveform[2000:-2000]
    assert np.sqrt(2 * np.mean(middle.astype(np.float64) ** 2)) == pytest.approx(0.5, rel=0.01)


def test_resampling_leaves_no_alias_of_what_is_above_8_khz() -> None:
    rate = 48_000
    both = sine(1000, rate=rate) + sine(12_000, rate=rate, peak=0.4)  # 12 kHz would fold to 4 kHz
    waveform = decode(encode(both, rate), WANTED).waveform
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    hertz = np.fft.rfftfreq(len(waveform), 1 / 16_000)
    assert spectrum[(hertz > 3900) & (hertz < 4100)].max() < 1e-3 * spectrum.max()


def test_resampling_never_leaves_full_scale() -> None:
    clip = decode(encode(0.99 * np.sign(sine(200, rate=48_000)), 48_000), WANTED)
    assert np.abs(clip.waveform).max() <= 1.0


def test_l16_is_big_endian() -> None:
    integers = np.round(sine(440) * 32_767).astype(int)
    big = struct.pack(f">{len(integers)}h", *integers)
    clip = decode_pcm16(big, WANTED, sample_rate=16_000)
    np.testing.assert_array_equal(clip.waveform, decode(encode(integers.astype(np.int16)), WANTED).waveform)
    np.testing.assert_array_equal(clip.waveform, (integers / 32_768).astype(np.float32))


def test_l16_takes_two_interleaved_channels() -> None:
    left, right = np.round(sine(300) * 32_767), np.round(sine(900) * 32_767)
    interleaved = np.stack([left, right], axis=1).ravel().astype(int)
    clip = decode_pcm16(struct.pack(f">{len(interleaved)}h", *interleaved), WANTED, sample_rate=16_000, channels=2)
    np.testing.assert_allclose(clip.waveform, (left + right) / 2 / 32_768, atol=1e-6)


@pytest.mark.parametrize(("length", "channels"), [(3201, 1), (3202, 2)])
def test_refuses_l16_that_ends_inside_a_frame(length: int, channels: int) -> None:
    with pytest.raises(BrokenAudio, match=f"{length} bytes are no whole number of {channels}-channel"):
        decode_pcm16(b"\x01" * length, WANTED, sample_rate=16_000, channels=channels)


# Nothing but AudioError, whatever comes


def assert_sound_or_refused(data: bytes) -> None:
    try:
        clip = decode(data, WANTED, formats=CORPUS_FORMATS - {"MP3"})  # its decoder chats on stderr
    except AudioError:
        return
    assert np.isfinite(clip.waveform).all()
    assert np.abs(clip.waveform).max() <= 1
    assert clip.seconds <= WANTED.max_seconds


@settings(max_examples=150)
@given(st.sampled_from([b"", b"RIFF\xff\xff\xff\xffWAVE", b"fLaC", b"OggS"]), st.binary(max_size=300))
def test_any_bytes_give_an_audio_error_or_a_sound_clip(head: bytes, rest: bytes) -> None:
    assert_sound_or_refused(head + rest)


VALID = [
    encode(sine(seconds=0.2)),
    encode(sine(seconds=0.2), subtype="FLOAT"),
    encode(sine(seconds=0.2), container="FLAC"),
    encode(sine(seconds=0.2), container="OGG", subtype="VORBIS"),
]


@settings(max_examples=200)
@given(st.sampled_from(VALID), st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_mutated_header_gives_an_audio_error_or_a_sound_clip(valid: bytes, changes: list[tuple[int, int]]) -> None:
    data = bytearray(valid)
    for at, value in changes:
        data[at] = value
    assert_sound_or_refused(bytes(data))


@settings(max_examples=100)
@given(st.binary(max_size=4000), st.integers(-10, 60_000), st.integers(-1, 4))
def test_any_l16_bytes_give_an_audio_error_or_a_sound_clip(data: bytes, rate: int, channels: int) -> None:
    try:
        clip = decode_pcm16(data, WANTED, sample_rate=rate, channels=channels)
    except AudioError:
        return
    assert np.abs(clip.waveform).max() <= 1


# Files


def test_a_bad_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "hush.wav"
    path.write_bytes(encode(np.zeros(8000)))
    with pytest.raises(NoSpeech, match=r"hush\.wav: the clip's peak"):
        read_clip(path, WANTED)
    path.write_bytes(bytes(MAX_BYTES + 1))
    with pytest.raises(AudioTooLarge, match=r"hush\.wav"):
        read_clip(path, WANTED)
    with pytest.raises(FileNotFoundError):
        read_clip(tmp_path / "none.wav", WANTED)


def test_a_file_is_what_its_bytes_are_whatever_it_is_called(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp3"
    path.write_bytes(encode(sine(), container="FLAC"))
    np.testing.assert_allclose(read_clip(path, WANTED).waveform, sine(), atol=1e-4)


# The window


@given(st.integers(0, 40), st.integers(1, 40))
def test_a_short_clip_is_padded_with_zeros_on_both_sides_alike(length: int, window: int) -> None:
    clip = np.arange(1, length + 1, dtype=np.float32)
    fitted = fit_window(clip, window)
    assert fitted.shape == (window,)
    assert fitted.dtype == np.float32
    if length <= window:
        inside = np.flatnonzero(fitted)
        np.testing.assert_array_equal(fitted[inside], clip)
        if length:
            before, after = inside[0], window - 1 - inside[-1]
            assert 0 <= after - before <= 1


@given(st.lists(st.integers(-9, 9), min_size=2, max_size=30), st.integers(1, 20))
def test_a_long_clip_is_cut_to_its_loudest_stretch(values: list[int], window: int) -> None:
    clip = np.array(values, dtype=np.float32)
    if len(clip) <= window:
        return
    stretches = [clip[i : i + window] for i in range(len(clip) - window + 1)]
    loudest = max(float(np.sum(s**2)) for s in stretches)
    fitted = fit_window(clip, window)
    assert float(np.sum(fitted**2)) == loudest
    assert any(np.array_equal(fitted, s) for s in stretches)


def test_the_window_follows_rate_and_seconds() -> None:
    assert AudioFormat().window == 16_000
    assert AudioFormat(sample_rate=8_000, window_seconds=0.75).window == 6_000
