{{/* What engines and gateways are scaled by. Names of metrics are those that gateway, vLLM and our engine tell:
     tests/chart/test_autoscaling.py holds them to that. Never CPU alone: an engine's says nothing of its load. */}}

{{/* Matchers of this release's series: labels that our ServiceMonitor and PodMonitor put on targets. */}}
{{- define "fovea.autoscaling.selector" -}}
{{- .Values.autoscaling.selector | default (printf "namespace=%q,fovea_release=%q" .Release.Namespace .Release.Name) -}}
{{- end -}}

{{/* {metrics: [{name, query, type, target}]} of a pool. A rate of nothing is 0 only while a gateway is scraped: where
     Prometheus has lost the targets, the answer is empty, and nothing is scaled down. (dict "root" $ "pool" POOL) */}}
{{- define "fovea.autoscaling.metrics" -}}
{{- $own := include "fovea.autoscaling.selector" .root -}}
{{- $pool := printf "%s,pool=%q" $own .pool.name -}}
{{- $nothing := printf "sum(up{job=\"fovea-gateway\",%s}) * 0" $own -}}
{{- $metrics := list -}}
{{- with .pool.autoscaling -}}
{{- if .queueWaitSeconds -}}
{{- $waited := printf "sum(rate(fovea_admission_wait_seconds_sum{%s,model=%q}[2m]))" $own $.pool.model.name -}}
{{- $waiters := printf "sum(rate(fovea_admission_wait_seconds_count{%s,model=%q}[2m]))" $own $.pool.model.name -}}
{{- $served := printf "sum(rate(vllm:request_success_total{%s,model_name=%q}[2m]))" $own $.pool.model.name -}}
{{/* The wait of a request, of those included that had none; of the waiters alone while more wait than are served. */ -}}
{{- $query := printf "%s / (%s > %s or %s > 0) or %s" $waited $served $waiters $waiters $nothing -}}
{{- $metrics = append $metrics (dict "name" "fovea_pool_queue_wait_seconds" "query" $query "type" "Value" "target" .queueWaitSeconds) -}}
{{- end -}}
{{- if .kvUsage -}}
{{- $query := printf "avg(avg_over_time(vllm:kv_cache_usage_perc{%s}[2m]))" $pool -}}
{{- $metrics = append $metrics (dict "name" "fovea_pool_kv_usage_ratio" "query" $query "type" "Value" "target" .kvUsage) -}}
{{- end -}}
{{- if .imageTokens -}}
{{- $query := printf "sum(rate(fovea_image_tokens_sum{%s}[2m]))" $own -}}
{{- if gt (len $.root.Values.pools) 1 -}}
{{/* Gateways count them of all models together: a pool's part is its part of the requests. */ -}}
{{- $part := printf "sum(rate(vllm:request_success_total{%s}[2m])) / (sum(rate(vllm:request_success_total{%s}[2m])) > 0)" $pool $own -}}
{{- $query = printf "%s * %s or %s" $query $part $nothing -}}
{{- end -}}
{{- $metrics = append $metrics (dict "name" "fovea_pool_image_tokens_per_second" "query" $query "type" "AverageValue" "target" .imageTokens) -}}
{{- end -}}
{{- end -}}
{{- toYaml (dict "metrics" $metrics) -}}
{{- end -}}

{{/* How fast. A new engine helps nobody until its model is loaded: until then, no more are added than there are already,
     and none is taken away for what was seen meanwhile. (dict "root" $ "pool" POOL) */}}
{{- define "fovea.autoscaling.behavior" -}}
{{- $start := include "fovea.engine.startupSeconds" . | int -}}
{{- $period := min 1800 (max 60 $start) -}}
scaleUp:
  stabilizationWindowSeconds: 0
  selectPolicy: Max
  policies:
    - {type: Pods, value: 1, periodSeconds: {{ $period }}}
    - {type: Percent, value: 100, periodSeconds: {{ $period }}}
scaleDown:
  stabilizationWindowSeconds: {{ min 3600 (max 600 (mul 2 $start)) }}
  selectPolicy: Max
  policies:
    - {type: Pods, value: 1, periodSeconds: {{ $period }}}
{{- end -}}

{{- define "fovea.autoscaling.target" -}}
{{- if .pool.leaderWorkerSet.enabled -}}
apiVersion: leaderworkerset.x-k8s.io/v1
kind: LeaderWorkerSet
{{- else -}}
apiVersion: apps/v1
kind: Deployment
{{- end }}
name: {{ include "fovea.engine.setName" . }}
{{- end -}}

{{- define "fovea.autoscaling.hpaVersion" -}}
{{- ternary "autoscaling/v2" "autoscaling/v2beta2" (.Capabilities.APIVersions.Has "autoscaling/v2") -}}
{{- end -}}

{{/* What a schema cannot say. (dict "root" $ "pool" POOL) */}}
{{- define "fovea.autoscaling.check" -}}
{{- $pool := .pool -}}
{{- $who := printf "pool '%s': autoscaling" $pool.name -}}
{{- with $pool.autoscaling -}}
{{- if not (or .queueWaitSeconds .kvUsage .imageTokens) -}}
{{- fail (printf "%s has nothing to go by: set queueWaitSeconds, kvUsage or imageTokens." $who) -}}
{{- end -}}
{{- if and (eq .kind "keda") (not $.root.Values.autoscaling.prometheusAddress) -}}
{{- fail (printf "%s with kind keda needs autoscaling.prometheusAddress: which Prometheus shall KEDA ask?" $who) -}}
{{- end -}}
{{- end -}}
{{- end -}}
