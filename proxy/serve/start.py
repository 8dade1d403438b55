"""The composition root: what `taximeter serve` holds for as long as it runs, and which processes it starts with that."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxy.config.model import Config, Loaded
from proxy.config.problems import ConfigError, Problem
from proxy.config.without_file import keys_of_ours, local_tree, needs_local_model, provider_tree
from proxy.patterns import compiled_later
from proxy.processes.descriptors import raise_limit, too_few
from proxy.processes.garbage_collection import make_rare
from proxy.processes.heaps import one_heap
from proxy.processes.orders import Orders
from proxy.processes.sqlite_library import without_statistics
from proxy.serve.data_dir import check_ledger_folder, lock_data_dir
from proxy.serve.reading_apart import load_apart
from proxy.serve.sockets import listen
from proxy.serve.supervisor import CONTROL, Supervisor, import_what_is_shared
from proxy.spool.kept import Kept
from proxy.spool.reader import drop_unbegun, runs

if TYPE_CHECKING:
    from proxy.serve.local_model import LocalModel

log = logging.getLogger("taximeter")


def prepare_embedded(data_dir: Path) -> tuple[dict[str, Any], LocalModel | None]:
    """Upstreams, models and prices without a file that names any: the providers whose keys are set; without any, the local
    model, started here."""
    for name in keys_of_ours(os.environ):
        log.warning("%s is a key of Taximeter's own, so it is not taken for a provider's", name)
    if not needs_local_model(os.environ):
        return provider_tree(os.environ), None
    from proxy.serve.local_model import LocalModelError, start_local_model  # only where it is needed

    try:
        local = start_local_model(data_dir)
    except LocalModelError as error:
        message = f"{error}; or set a provider's key, such as OPENAI_API_KEY, or write a configuration file"
        raise ConfigError([Problem("", message)]) from None
    return local_tree(local.base_url, local.model_name, local.context_tokens, local.api_key), local


def serve(config_path: Path | None, workers: int, *, standby: bool = False) -> int:
    """`taximeter serve`: everything, until it is told to stop. standby: wait while another instance has the data directory.
    Raises ConfigError before anything is served."""
    if standby:  # the first process of a container has no handlers, and would not end
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: os._exit(0))
    if config_path is None:
        loaded = Loaded(Config(), (), names_none=True)
        lock = lock_data_dir(Path(loaded.config.data_dir), wait=standby)  # before the local model writes there
    else:
        loaded, lock = _locked(config_path, wait=standby)
    otherwise, local = prepare_embedded(Path(loaded.config.data_dir)) if loaded.names_none else (None, None)
    try:
        if otherwise is not None:
            loaded = load_apart(config_path, os.environ, otherwise)
        return _serve(loaded.config, config_path, loaded.warnings, workers, local, otherwise)
    finally:
        if local is not None:
            local.stop()
        os.close(lock)


def _locked(config_path: Path, *, wait: bool) -> tuple[Loaded, int]:
    """The configuration, and the lock of its data directory. While it is waited for, the file may become another, and name
    another directory."""
    loaded = load_apart(config_path, os.environ, meanwhile=import_what_is_shared)
    while True:
        folder = loaded.config.data_dir
        lock = lock_data_dir(Path(folder), wait=wait)
        if not wait:
            return loaded, lock
        loaded = load_apart(config_path, os.environ)
        if loaded.config.data_dir == folder:
            return loaded, lock
        os.close(lock)


def _serve(
    config: Config,
    config_path: Path | None,
    warnings: Sequence[str],
    workers: int,
    local: LocalModel | None,
    otherwise: Mapping[str, Any] | None,
) -> int:
    raise_limit()
    if workers > 1 and config.store == "memory":
        raise ConfigError(
            [Problem("--workers", "several workers need a store that they share: set `store: redis://…`")]
        )
    check_ledger_folder(config.ledger)
    server = config.server
    data = listen(server.host, server.port, "server.port")
    admin = listen(server.admin_host, server.admin_port, "server.admin_port")
    few = too_few(config.server.max_connections)
    for warning in (*warnings, *([few] if few else [])):
        log.warning("%s", warning)
    data_port = data.getsockname()[1]
    supervisor = Supervisor(config, config_path, local, otherwise)
    spool = Path(config.data_dir) / "spool"
    drop_unbegun(spool)
    was_stopped_cleanly = not runs(spool) and not Kept(spool).segments()  # those another ledger may lack

    def control(orders: Orders) -> None:
        without_statistics()
        from proxy.control.start import run_control  # only this child needs it, and what it imports in its turn

        make_rare()
        one_heap()
        announce = otherwise is not None
        run_control(
            supervisor.config,
            admin,
            data_port,
            orders,
            announce=announce,
            workers=workers,
            in_file=supervisor.in_file,
            is_spool_empty=was_stopped_cleanly and not supervisor.has_begun,
        )

    def data_plane(worker: str) -> Callable[[Orders], None]:
        def start(orders: Orders) -> None:
            with compiled_later():
                from proxy.dataplane.process import run  # after the fork: its event loop belongs to the child

            make_rare()
            run(supervisor.config, worker, data, orders, workers)

        return start

    supervisor.add(CONTROL, control, admin)
    for number in range(workers):
        supervisor.add(f"data-{number}", data_plane(f"data-{number}"), data)
    supervisor.add_translators()
    return supervisor.run()
