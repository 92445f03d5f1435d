# Everything works on a fresh machine with Linux and Python 3.10 to 3.13: the first target installs into .venv by itself.
.DELETE_ON_ERROR:
.PHONY: help demo test test-cpu test-soft-gpu test-all gpu-test check bench bench-export bench-gpu bench-link bench-records real-data \
	hil swaps storm tamper faults faults-long bars model fuzz mutants coverage flips checkpoints recipes recipes-data cubins deb deb-test wheelhouse lock clean
PYTHON ?=
PY := .venv/bin/python
INSTALLED := .venv/.installed
SCANS ?=
WELDS ?= 360
ROWS ?= 10000000
SECONDS ?= 60
ARGS ?=
PREVIOUS ?=
# Tests that hold deadlines on real processes, or send signals to their own: not beside others.
ALONE := engines hil faults
ON_THE_LINE := tests/gpu/test_failures_on_the_line.py
BESIDE_EACH_OTHER := OMP_NUM_THREADS=1 $(PY) -m pytest -n auto --maxprocesses 4 --max-worker-restart 0 --dist loadfile

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(INSTALLED): $(wildcard requirements/*.txt) bootstrap.sh pyproject.toml
	@PYTHON="$(PYTHON)" ./bootstrap.sh

demo: $(INSTALLED) ## nine typologies end to end; SCANS=folder runs your own scans
	@.venv/bin/cordon sim demo --welds $(WELDS) $(if $(SCANS),--scans "$(SCANS)")

test: test-cpu test-soft-gpu ## all tests that fit into minutes

test-cpu: $(INSTALLED) ## the part of them that needs no GPU and no stand-in for one
	@$(BESIDE_EACH_OTHER) $(foreach room,$(ALONE),--ignore tests/$(room))
	@$(PY) -m pytest $(addprefix tests/,$(ALONE))

test-soft-gpu: $(INSTALLED) ## the GPU inspector on a software CUDA driver, under the real PyCUDA (compiled once, about 2 minutes)
	@$(PY) tests/gpu/softcuda/build.py; case $$? in \
		0) export CORDON_GPU_TESTS=soft; $(BESIDE_EACH_OTHER) tests/gpu --ignore $(ON_THE_LINE) && $(PY) -m pytest $(ON_THE_LINE);; \
		3) echo "SKIPPED: the GPU inspector's tests; what they need is named above" >&2;; \
		*) exit 1;; esac

gpu-test: $(INSTALLED) ## on a machine with an NVIDIA GPU and nvcc: kernels, streams, graphs, errors, sanitizer, figures
	@$(PY) tests/gpu/run_on_gpu.py

test-all: $(INSTALLED) test-soft-gpu ## all tests, with every network family at its real size (long)
	@$(PY) -m pytest -m "nightly or not nightly"

check: $(INSTALLED) ## ruff, mypy, import rules, quick tests
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports
	@$(PY) -m pytest -m "not slow and not nightly"

bench: $(INSTALLED) ## latency, memory and start-up side by side; ends with one line of JSON
	@.venv/bin/cordon bench

bench-gpu: $(INSTALLED) ## the same for a GPU: heightmap kernels against its copy bandwidth, engines, frame to verdict
	@.venv/bin/cordon bench gpu

bench-export: $(INSTALLED) ## INT8 against FP32 for ResNet18 to 101, trained here on simulated and real scans (hours)
	@.venv/bin/cordon bench export

bench-link: $(INSTALLED) ## frames of the serial link that one core reads and writes a second
	@.venv/bin/cordon bench link

bench-records: $(INSTALLED) ## asking for a part, and verifying, in ROWS=10000000 rows (minutes to build, 4 GB)
	@.venv/bin/cordon bench records --rows $(ROWS)

hil: $(INSTALLED) ## the cell's own tests, docs/commissioning.md; ARGS="--serial /dev/robot --camera tcp://..."
	@$(PY) -m pytest tests/hil $(ARGS)

swaps: $(INSTALLED) ## 1,000 bundles taken over by a running line at full rate: nothing lost, nothing mixed (long)
	@.venv/bin/cordon bench swaps --swaps 1000

storm: $(INSTALLED) ## 1,000 strangers of five kinds at the camera's port, and what the camera's verdicts notice
	@.venv/bin/cordon bench storm --connections 1000

tamper: $(INSTALLED) ## 100,000 tampered bundles at the box's three doors (long)
	@.venv/bin/cordon bench tamper --bundles 100000

faults: $(INSTALLED) ## every fault that a Linux machine can inject, in simulation and on real processes (about 10 minutes)
	@.venv/bin/cordon faults --effort ci

faults-long: $(INSTALLED) ## the same with ten times as much of everything (hours)
	@.venv/bin/cordon faults --effort long

bars: $(INSTALLED) ## how long until the robot rejects, how long until a killed gate serves again; wants a quiet machine
	@$(PY) -m faults.cell.bars

model: $(INSTALLED) ## the protocol's model checked by SPIN, with its seeded bugs; needs spin and gcc
	@$(PY) -m model.run

fuzz: $(INSTALLED) requirements/fuzz.txt ## everything that reads bytes from outside, SECONDS each
	@VIRTUAL_ENV=.venv .venv/bin/uv pip install --quiet --require-hashes -r requirements/fuzz.txt
	@$(PY) -m fuzz.run --seconds $(SECONDS)

mutants: $(INSTALLED) requirements/mutants.txt ## every small change of the safety core must make a test fail (long)
	@VIRTUAL_ENV=.venv .venv/bin/uv pip install --quiet --require-hashes -r requirements/mutants.txt
	@$(PY) -m mutation.run

coverage: $(INSTALLED) ## branches of the safety core that its tests never take: there must be none
	@$(PY) -m mutation.coverage

flips: $(INSTALLED) ## every flip of one, two or three bits in every frame of the serial link (long)
	@.venv/bin/cordon bench flips

real-data: $(INSTALLED) ## the labelled real scans through the running line, 5-fold by scan (long)
	@.venv/bin/cordon bench real-data

checkpoints: $(INSTALLED) ## train the demo's networks again from seeds (long)
	@rm -rf build/welds
	@.venv/bin/cordon sim welds build/welds --typology all --good 450 --bad 450 --seed 1
	@$(PY) -m train.checkpoints --data build/welds --out checkpoints

recipes-data: $(INSTALLED) ## what the recipes learn from: nine simulated typologies, a set with few good welds, painted ones; SCANS=folder adds real ones
	@rm -rf build/recipes/data
	@.venv/bin/cordon sim welds build/recipes/data --typology all --good 700 --bad 700 --seed 21
	@.venv/bin/cordon sim welds build/recipes/data/T7-rare --typology T7 --good 200 --bad 1000 --seed 22
	@.venv/bin/cordon sim welds build/recipes/data/balls-good --typology T3 --good 150 --bad 10 --seed 23
	@.venv/bin/cordon train defects build/recipes/data/balls-good/good --typology T3 --only ball --good 150 --bad 150 --out build/recipes/data/balls
	@$(if $(SCANS),cp -r "$(SCANS)" build/recipes/data/real)

recipes: $(INSTALLED) ## every recipe of recipes/ on that data, and the tables of docs/recipes.md from the results (long)
	@test -d build/recipes/data || $(MAKE) recipes-data
	@.venv/bin/cordon train run $(filter-out $(if $(SCANS),,recipes/real%),$(wildcard recipes/*.toml)) --data build/recipes/data --out build/recipes/out --threads 1 --resume
	@.venv/bin/cordon bench recipes docs/recipes.md build/recipes/out/results.csv

cubins: $(INSTALLED) ## compile the heightmap's kernels for all GPUs, with nvcc and, for CUDA 12 drivers, NVRTC
	@$(PY) -m edge.inspector.heightmap.kernels.build

deb: $(INSTALLED) ## the Debian package for this Python and machine, into dist/
	@$(PY) packaging/deb.py

deb-test: deb ## the package in a booted Debian: five commands, rights, update, purge, kills, frozen gate; needs root, mmdebstrap, systemd-container, a mirror
	@$(PY) packaging/try_deb.py dist/cordon_*.deb $(if $(PREVIOUS),--previous "$(PREVIOUS)")
	@$(PY) packaging/try_box.py dist/cordon_*.deb

wheelhouse: $(INSTALLED) ## wheels for boxes without internet; MACHINE=x86_64 or aarch64
	@$(PY) packaging/wheelhouse.py --machine $(or $(MACHINE),x86_64)

lock: ## resolve the requirement files again
	@test -x .venv/bin/uv || PYTHON="$(PYTHON)" ./bootstrap.sh
	@for name in uv box all mutants fuzz pycuda cubins bindings-10.3 bindings-10.16 bindings-11.4; do .venv/bin/uv pip compile --quiet --universal --python-version $$(test $$name = fuzz && echo 3.11 || echo 3.10) --generate-hashes \
		--no-emit-index-url --no-annotate --no-header requirements/$$name.in -o requirements/$$name.txt; done

clean: ## remove what was built, keep .venv
	@rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
