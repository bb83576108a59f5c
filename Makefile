# Everything a newcomer types. Needs Python 3.11, make, gcc and git; the rest is installed under .venv/.
PYTHON ?= python3
GATEWAY := .venv/gateway/bin
SET_UP := $(PYTHON) deploy/environments/set_up.py
GPU_PYTHON ?= .venv/quantize/bin/python
PROMETHEUS ?= http://127.0.0.1:9090

.PHONY: help setup demo test test-unit lint format check lesson bench bench-quantize bench-gateway bench-metrics bench-scaling bench-soak bench-cache bench-end-to-end bench-gpu train observe docs dashboards screenshots chart images images-demo clean

help:  ## say what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup:  ## make every environment (nothing to do when they are up to date)
	@$(SET_UP)

demo:  ## quantize the bundled model, serve it, ask about five pictures
	@$(SET_UP) gateway engine
	@$(GATEWAY)/python -m demo.run

test: setup  ## run every test, real vLLM included
	$(GATEWAY)/python -m tests.whole_run

test-unit:  ## the tests that need no engine, in seconds
	@$(SET_UP) gateway
	$(GATEWAY)/pytest tests/unit

lint:  ## ruff, mypy --strict, import-linter
	@$(SET_UP) gateway
	$(GATEWAY)/ruff check .
	$(GATEWAY)/ruff format --check .
	$(GATEWAY)/mypy
	$(GATEWAY)/lint-imports

format:  ## let ruff rewrite the sources
	$(GATEWAY)/ruff check --fix .
	$(GATEWAY)/ruff format .

check: setup  ## measure what the bundled model sees: 500 held-out questions a skill
	$(GATEWAY)/python -m demo.check

lesson: setup  ## quantize the bundled model nine ways, measure what each sees, write docs/lesson.md
	$(GATEWAY)/python -m demo.lesson.teach

bench:  ## every table of docs/benchmarks, in under an hour on two cores; ARGS="--only soak,cache", "--resume", "--list"
	@$(SET_UP) gateway
	@$(GATEWAY)/python -m loadtest.bench_all $(ARGS)

bench-quantize: setup  ## our writer beside llm-compressor's and cp: docs/benchmarks/quantize.md
	$(GATEWAY)/python -m loadtest.bench_quantize
	@$(GATEWAY)/python -m loadtest.claims

bench-gateway:  ## what the gateway adds to a request, by stage and beside other gateways: docs/benchmarks/gateway.md
	@$(SET_UP) gateway nginx peer-vllm-router peer-smg peer-litellm peer-production-stack
	$(GATEWAY)/python -m loadtest.bench_gateway
	@$(GATEWAY)/python -m loadtest.claims

bench-metrics:  ## what counting adds to a request, and what a scrape takes: docs/benchmarks/metrics.md
	@$(SET_UP) gateway
	$(GATEWAY)/python -m loadtest.bench_metrics
	@$(GATEWAY)/python -m loadtest.claims

bench-scaling:  ## what a request costs as pictures, streams, tenants, engines, cache entries grow: docs/benchmarks/scaling.md
	@$(SET_UP) gateway
	$(GATEWAY)/python -m loadtest.bench_scaling
	@$(GATEWAY)/python -m loadtest.claims

bench-soak:  ## half an hour at 80 % load: memory and open files of gateway and engine: docs/benchmarks/soak.md
	@$(SET_UP) gateway engine
	$(GATEWAY)/python -m loadtest.bench_soak
	@$(GATEWAY)/python -m loadtest.claims

bench-cache:  ## time to first token with embeddings from each tier, beside stock vLLM: docs/benchmarks/embedding-cache.md
	@$(SET_UP) gateway engine valkey
	$(GATEWAY)/python -m loadtest.bench_embedding_cache
	@$(GATEWAY)/python -m loadtest.claims

bench-end-to-end:  ## vLLM asked directly and through Fovea, one engine and two, affinity or none: docs/benchmarks/end-to-end.md
	@$(SET_UP) gateway engine nginx
	$(GATEWAY)/python -m loadtest.bench_end_to_end
	@$(GATEWAY)/python -m loadtest.claims

bench-gpu:  ## on one GPU: FP8 beside BF16, pictures encoded or loaded: docs/benchmarks/gpu.md (SKIPPED without a GPU)
	@$(SET_UP) quantize
	$(GPU_PYTHON) -m loadtest.gpu && { [ ! -d build/gpu/figures ] || $(GPU_PYTHON) -m loadtest.gpu --page; }

train: setup  ## train the bundled model anew into build/demo-model (2.3 hours on two cores; resumable)
	.venv/quantize/bin/python -m demo.training.train build/demo-model

docs:  ## write the tables of docs/ that are made of the code: metrics
	@$(SET_UP) gateway
	$(GATEWAY)/python -m server.metrics_table

observe:  ## dashboards and alerts over a demonstration under load; KEEP=1 stays until Ctrl-C
	@$(SET_UP) gateway engine valkey prometheus prometheus-alertmanager
	@$(GATEWAY)/python -m demo.observe.run $(if $(KEEP),--keep)

dashboards:  ## write Grafana's dashboards anew: deploy/grafana/json/
	@$(SET_UP) gateway
	$(GATEWAY)/python -m deploy.grafana.generate

screenshots:  ## draw the dashboards with what PROMETHEUS says of the last 15 minutes: docs/dashboards/
	@$(SET_UP) gateway grafana chromium
	$(GATEWAY)/python -m deploy.grafana.render.screenshots --prometheus $(PROMETHEUS) --out docs/dashboards

chart:  ## write what of helm/ is made of other files: the chart's README, rendered examples, dashboards and rules in it
	@$(SET_UP) gateway helm-v4
	$(GATEWAY)/python -m helm.write

images:  ## build container images (NAMES="gateway engine", say), and write what is in each to build/sbom/
	@$(SET_UP) gateway
	$(GATEWAY)/python -m deploy.images.build $(NAMES)

images-demo:  ## as root: build the images on a Debian of our own, and let the chart's pods answer the demo's pictures
	@$(SET_UP) gateway helm-v4 podman
	FOVEA_IMAGES_DEMO=1 $(GATEWAY)/python -m pytest tests/images/test_pods.py

clean:  ## remove the environments and everything built
	rm -rf .venv build dist
