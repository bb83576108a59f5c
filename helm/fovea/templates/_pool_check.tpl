{{/* What of a pool contradicts itself, each in one sentence: what a schema cannot say. (dict "root" $ "pool" $pool) */}}

{{- define "fovea.pool.check" -}}
{{- $pool := .pool -}}
{{- $who := printf "pool '%s'" $pool.name -}}
{{- if not (regexMatch "^[a-z]([a-z0-9-]{0,18}[a-z0-9])?$" $pool.name) -}}
{{- fail (printf "%s: a pool's name is at most 20 lower-case letters, digits and dashes, a letter first." $who) -}}
{{- end -}}
{{- if eq $pool.name "engine" -}}
{{- fail (printf "%s: gateways call the engines of engines.urls so: name it otherwise." $who) -}}
{{- end -}}
{{- if not $pool.model.name -}}
{{- fail (printf "%s: model.name is empty: say what callers shall call the model." $who) -}}
{{- end -}}
{{- if gt (len $pool.source) 1 -}}
{{- fail (printf "%s: source names %s: a checkpoint comes from one of hub, oci, s3, pvc, pool, store and image." $who (keys $pool.source | sortAlpha | join " and ")) -}}
{{- end -}}
{{- if and (not (include "fovea.pool.ownClaim" .)) (not .root.Values.modelStore.create) (not .root.Values.modelStore.existingClaim) -}}
{{- fail (printf "%s: its checkpoint lies in the model store, and there is none: set modelStore.existingClaim, modelStore.create or source.pvc." $who) -}}
{{- end -}}
{{- range $pool.extraArgs -}}
{{- $option := regexFind "^--[a-z-]+" (replace "_" "-" .) -}}
{{- $key := get (dict "--model" "model.path" "--name" "model.name" "--served-model-name" "model.name" "--host" "networkPolicy" "--port" "engine.port" "--grace" "shutdown.graceSeconds" "--drain" "shutdown.drainSeconds" "--shutdown-timeout" "shutdown.drainSeconds" "--tensor-parallel-size" "tensorParallel" "--pipeline-parallel-size" "pipelineParallel") $option -}}
{{- if $key -}}
{{- fail (printf "%s: extraArgs sets %s, which the rest of the pod follows: set %s." $who $option $key) -}}
{{- end -}}
{{- end -}}
{{- include "fovea.pool.check.gpus" (dict "pool" $pool "who" $who) -}}
{{- include "fovea.pool.check.embeddings" (dict "pool" $pool "who" $who) -}}
{{- include "fovea.pool.check.memory" (dict "pool" $pool "who" $who) -}}
{{- include "fovea.pool.check.rollout" (dict "pool" $pool "who" $who) -}}
{{- end -}}

{{- define "fovea.pool.check.gpus" -}}
{{- $pool := .pool -}}
{{- $all := mul $pool.tensorParallel $pool.pipelineParallel | int -}}
{{- if and (not $pool.gpu.enabled) (gt $all 1) -}}
{{- fail (printf "%s: tensorParallel and pipelineParallel need GPUs, and %s has none." .who (printf "preset '%s'" $pool.preset)) -}}
{{- end -}}
{{- if and (hasPrefix "fp8" $pool.kvCacheDtype) (not $pool.gpu.fp8) -}}
{{- fail (printf "%s: kvCacheDtype %s needs a GPU that multiplies FP8 (l4, l40s, h100, h200), and preset '%s' has none: say auto." .who $pool.kvCacheDtype $pool.preset) -}}
{{- end -}}
{{- if and $pool.leaderWorkerSet.enabled (mod $all $pool.leaderWorkerSet.size) -}}
{{- fail (printf "%s: %d GPUs (tensorParallel x pipelineParallel) cannot be spread evenly over leaderWorkerSet.size %d pods." .who $all (int $pool.leaderWorkerSet.size)) -}}
{{- end -}}
{{- $gpus := include "fovea.engine.gpus" (dict "pool" $pool) | int -}}
{{- if and (gt (int $pool.gpu.perNode) 0) (gt $gpus (int $pool.gpu.perNode)) -}}
{{- fail (printf "%s: a pod of %d GPUs (tensorParallel x pipelineParallel) fits no node, as gpu.perNode is %d: lower them, raise gpu.perNode where nodes have more, or use leaderWorkerSet." .who $gpus (int $pool.gpu.perNode)) -}}
{{- end -}}
{{- range $kind, $amounts := $pool.resources -}}
{{- if hasKey $amounts $pool.gpu.resource -}}
{{- fail (printf "%s: resources.%s counts %s, which tensorParallel x pipelineParallel does." $.who $kind $pool.gpu.resource) -}}
{{- end -}}
{{- end -}}
{{- if and $pool.gpu.enabled $pool.cpuKvCacheGiB -}}
{{- fail (printf "%s: cpuKvCacheGiB is for engines on CPUs: set gpuMemoryUtilization." .who) -}}
{{- end -}}
{{- if and $pool.gpu.requireProduct (not $pool.gpu.products) -}}
{{- fail (printf "%s: gpu.requireProduct is set, and gpu.products names none." .who) -}}
{{- end -}}
{{- if and $pool.gpu.requireProduct $pool.affinity.nodeAffinity -}}
{{- fail (printf "%s: affinity.nodeAffinity replaces what gpu.requireProduct asks for: write nvidia.com/gpu.product into it." .who) -}}
{{- end -}}
{{- end -}}

{{- define "fovea.pool.check.embeddings" -}}
{{- $cache := .pool.embeddingCache -}}
{{- if and (not $cache.host) $cache.shared.secret.name -}}
{{- fail (printf "%s: embeddingCache.host is empty, which turns the embedding cache off, and a shared store is named: give it host memory, like 1Gi." .who) -}}
{{- end -}}
{{- if eq $cache.disk.type "existingClaim" -}}
{{- if not (and $cache.disk.existingClaim $cache.disk.size) -}}
{{- fail (printf "%s: embeddingCache.disk.type existingClaim needs existingClaim, its name, and size, what of it may be used." .who) -}}
{{- end -}}
{{- if or (gt (int .pool.replicas) 1) .pool.autoscaling.enabled -}}
{{- fail (printf "%s: embeddingCache.disk.existingClaim is one folder, and each of several engines needs its own: use emptyDir or ephemeral." .who) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What vLLM keeps in host memory has to fit the limit, or the kernel ends it under load. */}}
{{- define "fovea.pool.check.memory" -}}
{{- $limit := ((.pool.resources.limits | default dict).memory | default "" | toString) -}}
{{- if regexMatch "^[0-9.]+[KMGT]i$" $limit -}}
{{- $host := include "fovea.mib" (.pool.embeddingCache.host | default "0Mi") | int64 -}}
{{- $cache := mulf .pool.processorCacheGiB 2048 | int64 -}}
{{- $needed := add $host $cache (mul .pool.cpuKvCacheGiB 1024) 2048 -}}
{{- if lt (include "fovea.mib" $limit | int64) $needed -}}
{{- fail (printf "%s: resources.limits.memory %s is less than %dMi: embeddingCache.host, processorCacheGiB in two processes, cpuKvCacheGiB, and 2Gi for vLLM itself." .who $limit $needed) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "fovea.pool.check.rollout" -}}
{{- $pool := .pool -}}
{{- if and (eq ($pool.strategy.type | default "") "Recreate") $pool.strategy.rollingUpdate -}}
{{- fail (printf "%s: strategy Recreate takes no rollingUpdate." .who) -}}
{{- end -}}
{{- with $pool.autoscaling -}}
{{- if and .enabled (gt (int .min) (int .max)) -}}
{{- fail (printf "%s: autoscaling.min %d is above max %d." $.who (int .min) (int .max)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
