{{/* An engine's pod. All take (dict "root" $ "pool" $pool). */}}

{{/* A Deployment's pod, or each of a LeaderWorkerSet's. */}}
{{- define "fovea.engine.podSpec" -}}
{{- $root := .root -}}
{{- $pool := .pool -}}
{{- $mine := include "fovea.selectorLabels" (dict "root" $root "component" "engine" "pool" $pool.name) -}}
{{ include "fovea.pod.common" $root }}
serviceAccountName: {{ include "fovea.engine.serviceAccount" $root }}
terminationGracePeriodSeconds: {{ include "fovea.engine.stopSeconds" . }}
{{- with include "fovea.engine.initContainers" . | trim }}
initContainers: {{- . | nindent 2 }}
{{- end }}
containers:
  - name: engine
    image: {{ include "fovea.image" (dict "root" $root "image" $root.Values.engine.image) | quote }}
    imagePullPolicy: {{ $root.Values.image.pullPolicy }}
    args: {{- include "fovea.engine.args" . | nindent 6 }}
    env: {{- include "fovea.engine.env" . | nindent 6 }}
    {{- with concat $root.Values.engine.envFrom $pool.envFrom }}
    envFrom: {{- toYaml . | nindent 6 }}
    {{- end }}
    ports:
      - {name: http, containerPort: {{ int $root.Values.engine.port }}, protocol: TCP}
    {{- include "fovea.engine.probes" . | nindent 4 }}
    {{- with include "fovea.preStop" (dict "root" $root "seconds" $pool.shutdown.preStopSeconds "who" (printf "pool '%s'" $pool.name)) }}
    lifecycle: {{- . | nindent 6 }}
    {{- end }}
    resources: {{- include "fovea.engine.resources" . | nindent 6 }}
    securityContext: {{- include "fovea.container.security" $root | nindent 6 }}
    terminationMessagePolicy: FallbackToLogsOnError
    volumeMounts: {{- include "fovea.engine.mounts" . | nindent 6 }}
volumes: {{- include "fovea.engine.volumes" . | nindent 2 }}
{{- $place := merge (dict "affinity" (include "fovea.engine.affinity" . | fromYaml)) $pool }}
{{- with include "fovea.pod.place" (dict "values" $place "labels" $mine) | trim }}
{{ . }}
{{- end }}
{{- end -}}

{{/* What `fovea engine` is told. What extraArgs says comes last, and wins. */}}
{{- define "fovea.engine.args" -}}
{{- $pool := .pool -}}
- engine
- --model={{ include "fovea.pool.modelDir" . }}
- --name={{ $pool.model.name }}
- --host=0.0.0.0
- --port={{ int .root.Values.engine.port }}
- --grace={{ int $pool.shutdown.graceSeconds }}
- --drain={{ int $pool.shutdown.drainSeconds }}
{{- range $option, $count := dict "tensor-parallel-size" $pool.tensorParallel "pipeline-parallel-size" $pool.pipelineParallel }}
{{- if gt (int $count) 1 }}
- --{{ $option }}={{ int $count }}
{{- end }}
{{- end }}
{{- range $option, $count := dict "max-model-len" $pool.contextTokens "max-num-seqs" $pool.maxSequences "max-num-batched-tokens" $pool.maxBatchedTokens }}
{{- if $count }}
- --{{ $option }}={{ int $count }}
{{- end }}
{{- end }}
- {{ printf "--limit-mm-per-prompt=%s" (include "fovea.engine.mediaLimit" .) | quote }}
- --mm-processor-cache-gb={{ $pool.processorCacheGiB }}
{{- if ne $pool.kvCacheDtype "auto" }}
- --kv-cache-dtype={{ $pool.kvCacheDtype }}
{{- end }}
{{- if and $pool.gpu.enabled $pool.gpuMemoryUtilization }}
- --gpu-memory-utilization={{ $pool.gpuMemoryUtilization }}
{{- end }}
{{- include "fovea.engine.embeddingArgs" . }}
{{- with $pool.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Videos are taken where the gateway takes them: vLLM keeps memory for what may come. */}}
{{- define "fovea.engine.mediaLimit" -}}
{{- $video := .root.Values.gateway.config.video | default dict -}}
{{- dict "image" (int .pool.imagesPerRequest) "video" ($video.max_count | default 0 | int) | toJson -}}
{{- end -}}

{{/* Without a disk of its own the cache has 1 GiB of /tmp: it is never without a folder. */}}
{{- define "fovea.engine.embeddingArgs" -}}
{{- with .pool.embeddingCache }}
{{- if .host }}
- --embedding-cache={{ ternary "/embeddings" "/tmp/embeddings" (ne .disk.size "") }}
- --embedding-cache-host={{ include "fovea.mib" .host }}MiB
- --embedding-cache-disk={{ include "fovea.embeddings.diskMib" . }}MiB
{{- if .shared.size }}
- --embedding-cache-shared-size={{ include "fovea.mib" .shared.size }}MiB
{{- end }}
{{- if .ttl }}
- --embedding-cache-ttl={{ .ttl }}
{{- end }}
{{- if ne .compress "none" }}
- --embedding-cache-compress={{ .compress }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Nine tenths: a pod that fills its volume is evicted. */}}
{{- define "fovea.embeddings.diskMib" -}}
{{- if .disk.size -}}{{ mulf (include "fovea.mib" .disk.size) 0.9 | floor | int64 }}{{- else -}}1024{{- end -}}
{{- end -}}

{{- define "fovea.engine.env" -}}
{{ include "fovea.container.env" .root }}
{{- if .pool.cpuKvCacheGiB }}
- {name: VLLM_CPU_KVCACHE_SPACE, value: {{ int .pool.cpuKvCacheGiB | quote }}}
{{- end }}
{{- with .pool.embeddingCache }}
{{- if and .host .shared.secret.name }}
- name: FOVEA_EMBEDDING_CACHE_SHARED
  valueFrom:
    secretKeyRef: {name: {{ .shared.secret.name }}, key: {{ .shared.secret.key }}}
{{- end }}
{{- end }}
{{- with concat .root.Values.engine.env .pool.env }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Liveness has to outlast grace and drain: a leaving engine says 503, and is not to be killed for it. */}}
{{- define "fovea.engine.probes" -}}
{{- $leaving := add .pool.shutdown.graceSeconds .pool.shutdown.drainSeconds -}}
startupProbe:
  httpGet: {path: /health, port: http}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: {{ divf (include "fovea.engine.startupSeconds" .) 5 | ceil | int }}
readinessProbe: {{- include "fovea.engine.readinessProbe" . | nindent 2 }}
livenessProbe:
  httpGet: {path: /health, port: http}
  periodSeconds: 10
  timeoutSeconds: 10
  failureThreshold: {{ max 6 (divf (add $leaving 20) 10 | ceil | int) }}
{{- end -}}

{{/* GPU counts are strings: Kubernetes takes no numbers there. */}}
{{- define "fovea.engine.resources" -}}
{{- $resources := deepCopy .pool.resources -}}
{{- $gpus := include "fovea.engine.gpus" . -}}
{{- if ne $gpus "0" -}}
{{- range $kind := list "limits" "requests" -}}
{{- $_ := set $resources $kind (merge (dict $.pool.gpu.resource $gpus) (get $resources $kind | default dict)) -}}
{{- end -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{/* The kind of GPU is preferred, or asked for; rules of the pool's own stand. */}}
{{- define "fovea.engine.affinity" -}}
{{- $affinity := deepCopy .pool.affinity -}}
{{- $gpu := .pool.gpu -}}
{{- if and $gpu.enabled $gpu.products (not $affinity.nodeAffinity) -}}
{{- $term := dict "matchExpressions" (list (dict "key" "nvidia.com/gpu.product" "operator" "In" "values" $gpu.products)) -}}
{{- if $gpu.requireProduct -}}
{{- $_ := set $affinity "nodeAffinity" (dict "requiredDuringSchedulingIgnoredDuringExecution" (dict "nodeSelectorTerms" (list $term))) -}}
{{- else -}}
{{- $_ := set $affinity "nodeAffinity" (dict "preferredDuringSchedulingIgnoredDuringExecution" (list (dict "weight" 100 "preference" $term))) -}}
{{- end -}}
{{- end -}}
{{- toYaml $affinity -}}
{{- end -}}
