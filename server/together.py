"""`fovea up`: engine and gateway on one machine, one log, one life."""

import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from server.errors import ConfigError

LAST_WORDS_S = 10  # of what was told to end at once
READY_POLL_S = 0.3
OWN_PORTS = (20_000, 32_000)
TRIES = 100
PREPROCESSORS = ("preprocessor_config.json", "processor_config.json")

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Together:
    """What to start. `engine_port` 0 takes a free one."""

    model: str
    name: str
    host: str
    port: int
    engine_port: int
    engine_options: tuple[str, ...]


def free_port() -> int:
    """One that nobody listens on. It is below those that the kernel gives to outgoing connections: between now and
    its use, any program's next connection could take one of them."""
    for _ in range(TRIES):
        port = random.randrange(*OWN_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ConfigError(f"no port from {OWN_PORTS[0]} to {OWN_PORTS[1]} is free")


def commands(plan: Together) -> dict[str, list[str]]:
    """The two processes' command lines, both of this same program."""
    engine_port = plan.engine_port or free_port()
    me = [sys.executable, "-m", "server"]
    engine = [*me, "engine", "--model", plan.model, "--name", plan.name, "--port", str(engine_port)]
    gateway = [*me, "gateway", "--engine", f"http://127.0.0.1:{engine_port}"]
    gateway += ["--host", plan.host, "--port", str(plan.port)]
    folder = Path(plan.model)
    if any((folder / name).is_file() for name in PREPROCESSORS):
        gateway += ["--preprocessor", str(folder)]
    return {"engine": [*engine, *plan.engine_options], "gateway": gateway}


def environment(ours: Mapping[str, str], terminal: bool) -> dict[str, str]:
    """Of both processes. They see no terminal, but whoever sits at ours reads text, if nothing else is set."""
    says_nothing = not ours.keys() & {"FOVEA_CONFIG", "FOVEA_LOGS__FORMAT"}
    form = {"FOVEA_LOGS__FORMAT": "text"} if terminal and says_nothing else {}
    return {**ours, **form, "PYTHONUNBUFFERED": "1"}


async def run_together(plan: Together, report: Report) -> int:
    """Run both until one ends or we are told to stop. Returns the exit code of the first to die, else 0."""
    stop, hurry = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hear() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, hear)
    processes = {name: await _start(command) for name, command in commands(plan).items()}
    logs = [asyncio.create_task(_prefix(name, p, report)) for name, p in processes.items()]
    ready = asyncio.create_task(_announce(plan, report))
    ends = {name: asyncio.create_task(p.wait()) for name, p in processes.items()}
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({*ends.values(), stopping}, return_when=asyncio.FIRST_COMPLETED)
    ready.cancel()
    stopping.cancel()
    dead = next(((name, task.result()) for name, task in ends.items() if task.done()), None)
    if dead and not stop.is_set():
        report(f"fovea   | {dead[0]} ended with code {dead[1]}: stopping the rest")
    # The gateway first: it finishes its streams while the engine still answers.
    for name in ("gateway", "engine"):
        await _stop(processes[name], hurry)
    await asyncio.gather(*logs)
    if stop.is_set() or dead is None:
        report("fovea   | stopped")
        return 0
    return dead[1] or 1


async def _start(command: list[str]) -> asyncio.subprocess.Process:
    # Sessions of their own: Ctrl-C reaches us alone, and we stop them in order.
    return await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        env=environment(os.environ, sys.stdout.isatty()),
        limit=1024 * 1024,
    )


async def _stop(process: asyncio.subprocess.Process, hurry: asyncio.Event) -> None:
    """SIGINT: no grace, since nobody else is there to take over. Told to hurry, we tell it again."""
    if process.returncode is not None:
        return
    ending = asyncio.create_task(process.wait())
    hurrying = asyncio.create_task(hurry.wait())
    _send(process, signal.SIGINT)
    # Each bounds its own stopping by what is set for it.
    await asyncio.wait({ending, hurrying}, return_when=asyncio.FIRST_COMPLETED)
    hurrying.cancel()
    if not ending.done():
        _send(process, signal.SIGINT)
    try:
        await asyncio.wait_for(ending, LAST_WORDS_S if hurry.is_set() else None)
    except TimeoutError:
        process.kill()
        await process.wait()


def _send(process: asyncio.subprocess.Process, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)


async def _prefix(name: str, process: asyncio.subprocess.Process, report: Report) -> None:
    assert process.stdout is not None
    while True:
        try:
            line = await process.stdout.readline()
        except ValueError:  # a line longer than the buffer: dropped
            continue
        if not line:
            return
        report(f"{name:<8}| {line.decode(errors='replace').rstrip()}")


async def _announce(plan: Together, report: Report) -> None:
    """One line with the URL and a command to copy, once a request would be answered."""
    host = "127.0.0.1" if plan.host in ("0.0.0.0", "::") else plan.host  # noqa: S104
    url = f"http://{host}:{plan.port}"
    async with aiohttp.ClientSession(trust_env=False) as session:
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.get(f"{url}/health/ready") as response:
                    if response.status == 200:
                        break
            await asyncio.sleep(READY_POLL_S)
    report(f"fovea   | ready: {url}/v1  model: {plan.name}")
    report(
        f"fovea   | try: curl -s {url}/v1/chat/completions -H 'content-type: application/json' -d "
        f'\'{{"model":"{plan.name}","max_tokens":32,"messages":[{{"role":"user","content":[{{"type":"image_url",'
        '"image_url":{"url":"data:image/jpeg;base64,\'$(base64 -w0 PICTURE.jpg)\'"}},'
        '{"type":"text","text":"What is in this picture?"}]}]}\''
    )
