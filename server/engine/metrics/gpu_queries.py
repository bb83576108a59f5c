"""What is asked of each GPU: one function for each call of NVML, which not every GPU knows.

Each returns readings by the metric's name, without `gpu`: the labels that follow it.
"""

from collections.abc import Callable, Container
from typing import Any

# By metric: the values of the labels behind `gpu`, and the number.
Told = dict[str, dict[tuple[str, ...], float]]
Query = Callable[[Any, Any], Told]


def memory(nvml: Any, handle: Any) -> Told:
    found = nvml.nvmlDeviceGetMemoryInfo(handle)
    return {
        "fovea_gpu_memory_total_bytes": {(): found.total},
        "fovea_gpu_memory_used_bytes": {(): found.used},
        "fovea_gpu_memory_free_bytes": {(): found.free},
    }


def utilization(nvml: Any, handle: Any) -> Told:
    found = nvml.nvmlDeviceGetUtilizationRates(handle)
    return {
        "fovea_gpu_utilization_ratio": {(): found.gpu / 100},
        "fovea_gpu_memory_utilization_ratio": {(): found.memory / 100},
    }


def power(nvml: Any, handle: Any) -> Told:
    return {"fovea_gpu_power_watts": {(): nvml.nvmlDeviceGetPowerUsage(handle) / 1000}}


def power_limit(nvml: Any, handle: Any) -> Told:
    return {"fovea_gpu_power_limit_watts": {(): nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000}}


def temperature(nvml: Any, handle: Any) -> Told:
    found = nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)
    return {"fovea_gpu_temperature_celsius": {(): found}}


def throttling(nvml: Any, handle: Any) -> Told:
    found = nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)
    reasons = {
        "power_cap": nvml.nvmlClocksThrottleReasonSwPowerCap,
        "thermal": nvml.nvmlClocksThrottleReasonSwThermalSlowdown | nvml.nvmlClocksThrottleReasonHwThermalSlowdown,
        "hw_slowdown": nvml.nvmlClocksThrottleReasonHwSlowdown,
        "power_brake": nvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown,
    }
    return {"fovea_gpu_throttled": {(reason,): float(bool(found & bits)) for reason, bits in reasons.items()}}


def ecc(nvml: Any, handle: Any) -> Told:
    kinds = {
        "corrected": nvml.NVML_MEMORY_ERROR_TYPE_CORRECTED,
        "uncorrected": nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
    }
    count = nvml.nvmlDeviceGetTotalEccErrors
    found: dict[tuple[str, ...], float] = {
        (name,): count(handle, kind, nvml.NVML_VOLATILE_ECC) for name, kind in kinds.items()
    }
    return {"fovea_gpu_ecc_errors_total": found}


def processes(ours: Callable[[], Container[int]]) -> Query:
    """`ours`: the ids of this engine's processes. A driver that shows none of them (it knows them by other ids, or
    not at all) tells nothing."""

    def query(nvml: Any, handle: Any) -> Told:
        engine, by_us = ours(), {True: 0, False: 0}
        for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle):
            by_us[process.pid in engine] += process.usedGpuMemory or 0
        told: dict[tuple[str, ...], float] = {("engine",): float(by_us[True]), ("other",): float(by_us[False])}
        return {"fovea_gpu_process_memory_bytes": told} if by_us[True] else {}

    return query


QUERIES: tuple[Query, ...] = (memory, utilization, power, power_limit, temperature, throttling, ecc)
