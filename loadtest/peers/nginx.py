"""nginx: the least that a proxy can do. Debian's package, unpacked."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from loadtest.peers.peer import VENVS, set_up

UNPACKED = VENVS / "programs" / "usr" / "sbin" / "nginx"
CONFIG = """
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_max_body_size 32m;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000000;
  upstream engine {{
    {servers}
    keepalive 256;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://engine;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_request_buffering off;
      client_body_buffer_size 512k;
      proxy_buffering off;
      proxy_read_timeout 300s;
    }}
  }}
}}
"""


class Nginx:
    name = "nginx"
    settings = "one worker, bodies and answers passed on as they come, 512 KB at once, upstream connections kept"
    get = set_up("nginx")

    def program(self) -> str | None:
        return shutil.which("nginx") or (str(UNPACKED) if UNPACKED.exists() else None)

    def is_there(self) -> bool:
        return self.program() is not None

    def version(self) -> str:
        told = subprocess.run([self.program() or "", "-v"], capture_output=True, text=True, check=True).stderr
        return told.strip().rpartition("/")[2]

    def environ(self, folder: Path) -> Mapping[str, str]:
        return {}

    def command(self, port: int, upstream: int, folder: Path) -> list[str]:
        return self.command_for_all(port, [upstream], folder)

    def command_for_all(self, port: int, upstreams: Sequence[int], folder: Path) -> list[str]:
        """They get requests in turn."""
        config, servers = folder / "nginx.conf", " ".join(f"server 127.0.0.1:{each};" for each in upstreams)
        config.write_text(CONFIG.format(folder=folder, port=port, servers=servers))
        return [self.program() or "", "-p", str(folder), "-c", str(config)]
