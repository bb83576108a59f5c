{{/* What of an engine follows by arithmetic. All take (dict "root" $ "pool" $pool). */}}

{{/* GPUs of one pod: a LeaderWorkerSet cuts an engine over several. */}}
{{- define "fovea.engine.gpus" -}}
{{- $all := ternary (mul .pool.tensorParallel .pool.pipelineParallel) 0 .pool.gpu.enabled -}}
{{- ternary (div $all .pool.leaderWorkerSet.size) $all .pool.leaderWorkerSet.enabled -}}
{{- end -}}

{{- define "fovea.engine.startupSeconds" -}}
{{- with .pool.startup -}}
{{- if .seconds -}}{{ int .seconds }}
{{- else -}}{{ add 300 (divf (mulf .checkpointGB 1000) .storeMBps | ceil | int) }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Until a pod must be ready: its checkpoint may have to be made and gated first, and old pods may have to go. */}}
{{- define "fovea.engine.progressSeconds" -}}
{{- $prepare := 0 -}}
{{- if or .pool.quantize.enabled (and .pool.source (not .pool.source.pvc)) -}}
{{- $prepare = .pool.startup.prepareSeconds -}}
{{- end -}}
{{- if include "fovea.pool.onTrial" . -}}
{{- $prepare = add $prepare .root.Values.quantize.activeDeadlineSeconds -}}
{{- end -}}
{{- add (include "fovea.engine.startupSeconds" .) $prepare (include "fovea.engine.stopSeconds" .) 300 -}}
{{- end -}}

{{/* vLLM is given 15 s beyond its drain, and its workers five more: then the launcher has ended all of them. */}}
{{- define "fovea.engine.stopSeconds" -}}
{{- with .pool.shutdown -}}{{ add .preStopSeconds .graceSeconds .drainSeconds 25 }}{{- end -}}
{{- end -}}

{{/* The embedding cache takes half of what is free there at most; vLLM's processes exchange the rest. */}}
{{- define "fovea.engine.shm" -}}
{{- if .pool.shm -}}{{ .pool.shm }}
{{- else -}}
{{- $embeddings := ternary (include "fovea.mib" (.pool.embeddingCache.host | default "0Mi")) "0" (ne .pool.embeddingCache.host "") -}}
{{- add (mul 2 $embeddings) (mul 1024 .pool.tensorParallel) -}}Mi
{{- end -}}
{{- end -}}

{{/* Where every GPU is taken, a new pod cannot start before an old one goes: a surge would wait for ever. */}}
{{- define "fovea.engine.strategy" -}}
{{- if .pool.strategy -}}
{{- toYaml .pool.strategy -}}
{{- else if not .pool.gpu.enabled -}}
type: RollingUpdate
rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
{{- else if and (le (int .pool.replicas) 1) (not .pool.autoscaling.enabled) -}}
type: Recreate
{{- else -}}
type: RollingUpdate
rollingUpdate: {maxUnavailable: 1, maxSurge: 0}
{{- end -}}
{{- end -}}
