"""The whole data stage: read, clean, word, store. A folder that already holds the outcome is left as it is."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from reasoning_rl import __version__
from reasoning_rl.config import DataConfig, PolicyConfig
from reasoning_rl.data import manifest as manifests
from reasoning_rl.data import store, wording
from reasoning_rl.data.cleaning import Check, Say, clean, require_rows
from reasoning_rl.data.demonstrations import from_solutions
from reasoning_rl.data.manifest import Manifest, up_to_date, write_manifest
from reasoning_rl.data.sift import Finding, Sieve
from reasoning_rl.data.source import SOURCES, Loaded
from reasoning_rl.data.template import find_template
from reasoning_rl.data.tokenizer import plain_chat
from reasoning_rl.data.wording import Wording
from reasoning_rl.errors import DataError, StorageError
from reasoning_rl.files import digest, sha256_of
from reasoning_rl.records import Demonstration, Prompt


def prepare(
    config: DataConfig,
    policy: PolicyConfig,
    folder: Path,
    *,
    seed: int,
    check: Check | None = None,
    on_progress: Say | None = None,
    begun: bool = False,
) -> Manifest:
    """Fill `folder` with prompts, demonstrations, the rows set aside and the manifest; nothing is done where that stands already.

    `check` gives a gold to its own verifier. `begun`: something was learned from the folder already, so that it may only be made again as
    it was. Raises ConfigError for an unknown source or template, DataError when data can't be used or
    nothing is left, ModelError when the policy has no tokenizer, StorageError when the folder can't be written.
    """
    say = on_progress or (lambda _: None)
    source = SOURCES.get(config.source, "data.source")
    find_template(config.template, plain_chat)  # an unknown name is said before anything is read
    if policy.model is None:
        wording.check_context(config, policy.architecture.context)
    inputs = {**source.inputs(config), **_tokenizer_input(policy)}
    identity = _identity(config, policy, inputs, seed, check)
    if (done := up_to_date(folder, identity)) is not None:
        say(f"{folder} is up to date")
        return done
    if begun:
        _refuse_changed(folder, inputs)
    spoken = wording.pretrained(config, policy)
    loaded = source.read(config, seed)
    train, held_out = clean(loaded, config, check, say)
    spoken = spoken or wording.learned(config, policy, train.rows, loaded.worked)
    prompts = [_prompts(sieve, spoken, config.max_prompt_tokens) for sieve in (train, held_out)]
    say(f"worded {len(prompts[0]):,} training and {len(prompts[1]):,} held-out prompts, template {spoken.template.name}")
    demonstrations = _demonstrations(spoken, loaded, train)
    files = _write(folder, spoken, prompts, demonstrations, (train, held_out))
    manifest = Manifest(
        source=config.source,
        inputs=inputs,
        counts={"train": train.counts(), "eval": held_out.counts(), "demonstrations": len(demonstrations)},
        files=files,
        template=spoken.template.name,
        template_sha256=spoken.template.sha256,
        tokenizer=policy.model or "tokenizer",
        seed=seed,
        settings=config.model_dump(mode="json"),
        identity=identity,
        version=__version__,
    )
    write_manifest(folder, manifest)
    say(f"wrote {folder}")
    return manifest


def _refuse_changed(folder: Path, inputs: Mapping[str, str]) -> None:
    """DataError when what the folder was made from is not what it was, as far as its manifest tells."""
    try:
        before = manifests.load_manifest(folder).inputs
    except DataError:  # a kill, or a hand, took it away
        return
    changed = [name for name in sorted(before.keys() | inputs.keys()) if before.get(name) != inputs.get(name)]
    if changed:
        raise DataError(
            f"{changed[0]} is not as it was when {folder} was made, which a run has learned from; put it back, give this run a name=… of "
            "its own, or start it over with --fresh"
        )


def _identity(config: DataConfig, policy: PolicyConfig, inputs: Mapping[str, str], seed: int, check: Check | None) -> str:
    """Changes whenever the outcome could."""
    return digest(
        {
            "settings": config.model_dump(mode="json"),
            "policy": [policy.model, policy.revision, policy.architecture.context if policy.model is None else None],
            "inputs": dict(inputs),
            "seed": seed,
            "check": getattr(check, "__qualname__", type(check).__qualname__),
            "version": __version__,
            "schema": manifests.SCHEMA,
        }
    )


def _tokenizer_input(policy: PolicyConfig) -> dict[str, str]:
    """A local policy's tokenizer may be replaced under the same name."""
    if policy.model is None:
        return {}
    names = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
    paths = [path for name in names if (path := Path(policy.model) / name).is_file()]
    return {str(path): sha256_of(path) for path in paths}


def _prompts(sieve: Sieve, spoken: Wording, longest: int) -> list[Prompt]:
    """Prompts of the problems that fit; the others are set aside."""
    prompts = spoken.prompts(sieve.rows)
    long = {one.problem.id: len(one.token_ids) for one in prompts if len(one.token_ids) > longest}
    findings = {name: Finding(f"the prompt has {length} tokens; data.max_prompt_tokens is {longest}") for name, length in long.items()}
    sieve.sift("length", findings)
    require_rows(sieve)
    return [one for one in prompts if one.problem.id not in long]


def _demonstrations(spoken: Wording, loaded: Loaded, train: Sieve) -> list[Demonstration]:
    return spoken.demonstrations(from_solutions(train.rows) if loaded.worked is None else loaded.worked)


def _write(
    folder: Path, spoken: Wording, prompts: Sequence[Sequence[Prompt]], demonstrations: Sequence[Demonstration], sieves: Sequence[Sieve]
) -> dict[str, str]:
    """Every file but the manifest, which is taken away first: what an interruption leaves behind is not mistaken for a whole folder."""
    try:
        (folder / manifests.NAME).unlink(missing_ok=True)
        written = spoken.save(folder / "tokenizer")
    except OSError as failure:
        raise StorageError(f"{folder} can't be written: {failure.strerror or failure}") from failure
    written += [
        store.write_prompts(folder / "train.parquet", prompts[0]),
        store.write_prompts(folder / "eval.parquet", prompts[1]),
        store.write_demonstrations(folder / "demonstrations.parquet", demonstrations),
        store.write_rejections(folder / "rejected.parquet", [rejection for sieve in sieves for rejection in sieve.rejections]),
    ]
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in written}
