"""What the control process hands to the services beside its recorder: what it has opened, and the configuration in force."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.engine import Engine

from pricing.values import frozen
from proxy.budgets.budget import Budget
from proxy.config.model import Config
from proxy.control.alerts import Alerts
from proxy.control.metrics.series import MetricState
from proxy.control.runtime_settings import RuntimeSettings
from proxy.ledger.recording.recorder import Recorder
from proxy.processes.link import ControlServer
from proxy.processes.orders import InFile

if TYPE_CHECKING:
    from proxy.control.rebuilding import SharedBudgets


@frozen
class Resources:
    """What is there before the first call is served and ends last. shared: None where budgets are in memory."""

    engine: Engine
    instance: str
    data_dir: Path
    link: ControlServer
    metrics: MetricState
    recorder: Recorder
    alerts: Alerts
    shared: SharedBudgets | None


@frozen
class InForce:
    """What a reload, a key or a raise changes: asked for anew each time. in_file: what of the configuration's file is not in
    force. refresh: looks for what was made elsewhere."""

    config: Callable[[], Config]
    in_file: Callable[[], InFile]
    made: Callable[[], RuntimeSettings]
    budgets: Callable[[], Sequence[Budget]]
    refresh: Callable[[], Awaitable[object]]
