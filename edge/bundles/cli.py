"""`cordon bundle install|list|activate|rollback|remove|status|resign`: the bundles of this box."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from edge.bundle import open_bundle, save_bundle, sign_bundle
from edge.bundles.needs import typologies_needed
from edge.bundles.policy import Policy
from edge.bundles.proof import prover
from edge.bundles.store import Store
from edge.config import Config, load_config
from edge.errors import BundleError, BundleFormatError, BundlePolicyError
from edge.keys import public_half, read_private_key

WORDS = ("install", "list", "activate", "rollback", "remove", "status", "resign")
SHOWN = 20
RELOAD = "the running inspector takes it without losing a weld: systemctl reload cordon-inspector (with a GPU it starts anew for it)"


def add_words(words: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this module's words to `cordon bundle`."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", type=Path, default=Path("/etc/cordon/cordon.toml"), metavar="FILE", help="default %(default)s")
    lower = argparse.ArgumentParser(add_help=False)
    lower.add_argument("--allow-downgrade", default="", metavar="REASON", help="take an older version all the same; the reason is kept")
    words.add_parser("install", parents=[common, lower], help="verify a bundle and keep it in the store").add_argument("file", type=Path)
    words.add_parser("list", parents=[common], help="what is in the store")
    activate = words.add_parser("activate", parents=[common, lower], help="prove a bundle here and switch to it")
    activate.add_argument("id", help="first digits of its hash, at least 6")
    rollback = words.add_parser("rollback", parents=[common], help="prove the bundle before the active one and switch to it")
    rollback.add_argument("--reason", required=True)
    words.add_parser("remove", parents=[common], help="delete a version that is not in use").add_argument("id")
    status = words.add_parser(
        "status", parents=[common], help="active, way back, floor and history; exit status 1 when it cannot be loaded"
    )
    status.add_argument("--json", action="store_true")
    resign = words.add_parser("resign", help="sign a bundle anew by another key; its hash stays")
    resign.add_argument("file", type=Path)
    resign.add_argument("--key", action="append", required=True, help="public key that signed it")
    resign.add_argument("--signing-key", type=Path, required=True, metavar="FILE", help="the new private key, `cordon keys new`")
    resign.add_argument("--out", type=Path, required=True, metavar="FILE")


def run_word(arguments: argparse.Namespace) -> int:
    """Run one of WORDS. Raises ConfigError, BundleError, KnownAnswerError or EngineError."""
    if arguments.action == "resign":
        return _resign(arguments)
    config = load_config(arguments.config)
    store = Store(policy=Policy.of(config.inspector))
    if arguments.action == "install":
        return _install(store, arguments)
    if arguments.action == "list":
        return _list(store)
    if arguments.action == "status":
        return _status(store, as_json=arguments.json)
    if arguments.action == "remove":
        name = store.find(arguments.id)
        store.remove(name)
        print(f"removed {name[:12]}")
        return 0
    return _switch(store, config, arguments)


def _install(store: Store, arguments: argparse.Namespace) -> int:
    bundle, new = store.install(arguments.file, downgrade=_reason(arguments.allow_downgrade, "--allow-downgrade"))
    manifest = bundle.manifest
    print(f"{'installed' if new else 'already installed'}: {manifest.name} version {manifest.version}, {bundle.hash}")
    print(f"use it: cordon bundle activate {bundle.hash[:12]}")
    return 0


def _switch(store: Store, config: Config, arguments: argparse.Namespace) -> int:
    prove = prover(arguments.config, store.policy.store.proof_s)
    needed = typologies_needed(config)
    if arguments.action == "activate":
        reason = _reason(arguments.allow_downgrade, "--allow-downgrade")
        bundle = store.activate(store.find(arguments.id), prove, needed=needed, downgrade=reason)
    else:
        bundle = store.rollback(prove, reason=_reason(arguments.reason, "--reason", needed=True), needed=needed)
    proof = store.state().proved[bundle.hash]
    print(f"active: {bundle.manifest.name} version {bundle.manifest.version}, {bundle.hash}")
    print(f"{proof.answers} golden inputs agreed on {proof.backend}; {RELOAD}")
    return 0


def _reason(text: str, option: str, *, needed: bool = False) -> str:
    given = " ".join(text.split())
    if (text or needed) and len(given) < 3:
        raise BundlePolicyError(f"{option} needs a reason", seen=text, remedy="Say why in a few words: it is kept in the store's history")
    return given[:400]


def _list(store: Store) -> int:
    state = store.state()
    for name in store.installed():
        mark = {state.active: "active", state.previous: "way back"}.get(name, "proved" if name in state.proved else "")
        try:
            bundle = store.open(name, loading=False)
            words = f"{bundle.manifest.name} version {bundle.manifest.version}, key {bundle.signed_by[:12]}"
        except BundleError as exc:
            words = f"refused: {exc}"
        print(f"{name[:12]}  {mark:8}  {words}")
    return 0


def _status(store: Store, *, as_json: bool) -> int:
    state = store.state()
    trouble = ""
    try:
        if not state.active:
            raise BundlePolicyError("no bundle is active", remedy="`cordon bundle activate ID`")
        store.open(state.active)
    except BundleError as exc:
        trouble = f"{type(exc).__name__}: {exc}"
    if as_json:
        print(msgspec.json.encode({"state": state, "trouble": trouble}).decode())
        return 1 if trouble else 0
    print(f"active    {_named(state.active)}\nway back  {_named(state.previous)}")
    print(f"line      {state.line or '-'}\nfloor     {state.floor}, highest {state.highest}\ntrouble   {trouble or 'none'}")
    for event in state.history[-SHOWN:]:
        print(f"{event.at}  {event.action:8}  version {event.version}  {event.bundle[:12]}  user {event.user}  {event.reason}".rstrip())
    return 1 if trouble else 0


def _named(name: str) -> str:
    return name or "none"


def _resign(arguments: argparse.Namespace) -> int:
    bundle = open_bundle(arguments.file, tuple(key.strip().lower() for key in arguments.key))
    key = read_private_key(arguments.signing_key)
    data = sign_bundle(bundle.manifest, {name: bytes(view) for name, view in bundle.files.items()}, key)
    if arguments.out.exists():
        raise BundleFormatError("the file is there already", seen=arguments.out, remedy="Choose a new name for --out")
    save_bundle(data, arguments.out)
    if open_bundle(arguments.out, (public_half(key),)).hash != bundle.hash:
        arguments.out.unlink()
        raise BundleFormatError("another release wrote this bundle, its hash would change", seen=bundle.hash[:12], remedy="Export it again")
    print(f"signed by {public_half(key)}: {arguments.out}")
    return 0
