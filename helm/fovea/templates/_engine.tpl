{{/* An engine's pod. All take (dict "root" $ "pool" $pool). */}}

{{/* GPUs of one pod, as a number: with a LeaderWorkerSet the stages are spread over pods. */}}
{{- define "fovea.engine.gpus" -}}
{{- if not .pool.gpu.enabled -}}0
{{- else if .pool.leaderWorkerSet.enabled -}}
{{- div (mul .pool.tensorParallel .pool.pipelineParallel) .pool.leaderWorkerSet.size -}}
{{- else -}}
{{- mul .pool.tensorParallel .pool.pipelineParallel -}}
{{- end -}}
{{- end -}}

{{- define "fovea.engine.startupSeconds" -}}
{{- with .pool.startup -}}
{{- if .seconds -}}{{ int .seconds }}
{{- else -}}{{ add 300 (divf (mulf .checkpointGB 1000) .storeMBps | ceil | int) }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "fovea.engine.args" -}}
{{- $pool := .pool -}}
- engine
- --model={{ include "fovea.pool.modelDir" . }}
- --name={{ $pool.model.name }}
- --host=0.0.0.0
- --port={{ int .root.Values.engine.port }}
- --grace={{ int $pool.shutdown.graceSeconds }}
- --drain={{ int $pool.shutdown.drainSeconds }}
{{- if gt (int $pool.tensorParallel) 1 }}
- --tensor-parallel-size={{ int $pool.tensorParallel }}
{{- end }}
{{- if gt (int $pool.pipelineParallel) 1 }}
- --pipeline-parallel-size={{ int $pool.pipelineParallel }}
{{- end }}
{{- if $pool.contextTokens }}
- --max-model-len={{ int $pool.contextTokens }}
{{- end }}
- {{ printf "--limit-mm-per-prompt=%s" (dict "image" (int $pool.imagesPerRequest) | toJson) | quote }}
{{- if ne $pool.kvCacheDtype "auto" }}
- --kv-cache-dtype={{ $pool.kvCacheDtype }}
{{- end }}
{{- if and $pool.gpu.enabled $pool.gpuMemoryUtilization }}
- --gpu-memory-utilization={{ $pool.gpuMemoryUtilization }}
{{- end }}
{{- if $pool.maxSequences }}
- --max-num-seqs={{ int $pool.maxSequences }}
{{- end }}
{{- if $pool.maxBatchedTokens }}
- --max-num-batched-tokens={{ int $pool.maxBatchedTokens }}
{{- end }}
- --mm-processor-cache-gb={{ $pool.processorCacheGiB }}
{{- with $pool.embeddingCache }}
{{- if .host }}
- --embedding-cache={{ ternary "/embeddings" "on" (ne .disk.size "") }}
- --embedding-cache-host={{ .host }}B
{{- end }}
{{- end }}
{{- with $pool.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "fovea.engine.resources" -}}
{{- $resources := deepCopy .pool.resources -}}
{{- $gpus := include "fovea.engine.gpus" . -}}
{{- if ne $gpus "0" -}}
{{- $_ := set $resources "limits" (merge (dict .pool.gpu.resource ($gpus | toString)) ($resources.limits | default dict)) -}}
{{- $_ := set $resources "requests" (merge (dict .pool.gpu.resource ($gpus | toString)) ($resources.requests | default dict)) -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{- define "fovea.engine.podSpec" -}}
{{- $root := .root -}}
{{- $pool := .pool -}}
{{ include "fovea.pod.common" $root }}
serviceAccountName: {{ include "fovea.engine.serviceAccount" $root }}
terminationGracePeriodSeconds: {{ add $pool.shutdown.graceSeconds $pool.shutdown.drainSeconds 30 }}
{{- with include "fovea.engine.initContainers" . }}
initContainers: {{- . | nindent 2 }}
{{- end }}
containers:
  - name: engine
    image: {{ include "fovea.image" (dict "root" $root "image" $root.Values.engine.image) | quote }}
    imagePullPolicy: {{ $root.Values.image.pullPolicy }}
    args: {{- include "fovea.engine.args" . | nindent 6 }}
    env: {{- include "fovea.container.env" $root | nindent 6 }}
    ports:
      - {name: http, containerPort: {{ int $root.Values.engine.port }}, protocol: TCP}
    startupProbe:
      httpGet: {path: /health, port: http}
      periodSeconds: 5
      timeoutSeconds: 5
      failureThreshold: {{ divf (include "fovea.engine.startupSeconds" .) 5 | ceil | int }}
    readinessProbe:
      httpGet: {path: /health, port: http}
      periodSeconds: 2
      timeoutSeconds: 5
      failureThreshold: 2
    livenessProbe:
      httpGet: {path: /health, port: http}
      periodSeconds: 10
      timeoutSeconds: 10
      failureThreshold: 6
    resources: {{- include "fovea.engine.resources" . | nindent 6 }}
    securityContext: {{- include "fovea.container.security" $root | nindent 6 }}
    terminationMessagePolicy: FallbackToLogsOnError
    volumeMounts:
      - {name: models, mountPath: /models, readOnly: true}
      - {name: scratch, mountPath: /tmp}
      - {name: shm, mountPath: /dev/shm}
volumes:
  - name: models
    persistentVolumeClaim: {claimName: {{ include "fovea.pool.modelClaim" . }}}
  - name: scratch
    emptyDir: {sizeLimit: {{ $pool.scratch }}}
  - name: shm
    emptyDir: {medium: Memory, sizeLimit: {{ $pool.shm }}}
{{- with $pool.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $pool.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* templates/engine/_await.tpl (the checkpoint's report) fills this in. */}}
{{- define "fovea.engine.initContainers" -}}
{{- end -}}
