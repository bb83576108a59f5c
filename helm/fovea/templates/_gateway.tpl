{{/* The gateway's settings: what follows from the pools, and over it what gateway.config says. */}}

{{- define "fovea.gateway.count" -}}
{{- with .Values.gateway -}}
{{- ternary (int .autoscaling.max) (int .replicas) .autoscaling.enabled -}}
{{- end -}}
{{- end -}}

{{- define "fovea.gateway.config" -}}
{{- $root := . -}}
{{- $pools := list -}}
{{- range (include "fovea.pools" . | fromYaml).pools -}}
{{- $dns := printf "http://%s.%s.svc:%d" (include "fovea.engine.name" (dict "root" $root "pool" .)) $root.Release.Namespace (int $root.Values.engine.port) -}}
{{- $pools = append $pools (dict "name" .name "dns" $dns "models" (list .model.name) "weight" .weight "most" (int .most)) -}}
{{- end -}}
{{- $shutdown := .Values.gateway.shutdown -}}
{{- $http := dict "host" "0.0.0.0" "port" 8080 "workers" (int .Values.gateway.workers)
  "max_bytes_in_flight" (mul (include "fovea.mib" .Values.gateway.bytesInFlight) 1048576)
  "drain_grace_s" (int $shutdown.graceSeconds) "drain_s" (int $shutdown.drainSeconds) -}}
{{- $config := dict "http" $http "engines" (dict "pools" $pools)
  "admission" (dict "gateways" (include "fovea.gateway.count" . | int)) -}}
{{- if .Values.gateway.keysSecret.name -}}
{{- $_ := set $config "auth" (dict "keys_file" (printf "/etc/fovea/keys/%s" .Values.gateway.keysSecret.key)) -}}
{{- end -}}
{{- mergeOverwrite $config (deepCopy .Values.gateway.config) | toYaml -}}
{{- end -}}
