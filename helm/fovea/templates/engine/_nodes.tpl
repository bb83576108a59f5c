{{/* Engines that are spread over several nodes: pods of a LeaderWorkerSet. The first answers, the others hold its workers.
     All take (dict "root" $ "pool" $pool). */}}

{{/* Not the engine's own name: the controller makes a headless Service of this one, which finds pods before they are ready. */}}
{{- define "fovea.engine.setName" -}}
{{ include "fovea.engine.name" . }}{{ if .pool.leaderWorkerSet.enabled }}-nodes{{ end }}
{{- end -}}

{{/* The pod of one node, as JSON: the engine's own, told which part it is, by "leader". Without an embedding cache: workers on
     other nodes do not share the memory that it lends them, so that it would turn itself off. */}}
{{- define "fovea.engine.nodeSpec" -}}
{{- $pool := deepCopy .pool -}}
{{- $_ := set $pool.embeddingCache "host" "" -}}
{{- $spec := include "fovea.engine.podSpec" (dict "root" .root "pool" $pool) | fromYaml -}}
{{- $engine := first $spec.containers -}}
{{- $part := list (printf "--nnodes=%d" (int .pool.leaderWorkerSet.size)) "--master-addr=$(LWS_LEADER_ADDRESS)" -}}
{{- if .leader -}}
{{- $part = append $part "--node-rank=0" -}}
{{- else -}}
{{- $part = concat $part (list "--node-rank=$(LWS_WORKER_INDEX)" "--headless") -}}
{{- range list "startupProbe" "readinessProbe" "livenessProbe" "ports" -}}{{- $_ := unset $engine . -}}{{- end -}}
{{- end -}}
{{- $_ := set $engine "args" (concat $engine.args $part) -}}
{{- $address := dict "name" "VLLM_HOST_IP" "valueFrom" (dict "fieldRef" (dict "fieldPath" "status.podIP")) -}}
{{- $_ := set $engine "env" (append $engine.env $address) -}}
{{- toJson $spec -}}
{{- end -}}

{{/* Labels of the pods that answer of a pool: of engines that are spread over nodes, their leaders. (dict "root" $ "pool" POOL) */}}
{{- define "fovea.engine.answering" -}}
{{ include "fovea.selectorLabels" (dict "root" .root "component" "engine" "pool" .pool.name) }}
{{- if .pool.leaderWorkerSet.enabled }}
fovea.dev/part: leader
{{- end }}
{{- end -}}
