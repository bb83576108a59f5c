{{/* The gateway's settings: what follows from the pools and from other values, and over it what gateway.config says. */}}

{{/* Gateways that share the engines. Where their number changes, four times the fewest at most: each lets in its part of what
     engines hold, and up to four times that (admission.overcommit) while the others leave room. */}}
{{- define "fovea.gateway.count" -}}
{{- with .Values.gateway -}}
{{- ternary (min (int .autoscaling.max) (mul 4 (max 1 (int .autoscaling.min)))) (int .replicas) .autoscaling.enabled -}}
{{- end -}}
{{- end -}}

{{- define "fovea.gateway.config" -}}
{{- $pools := (include "fovea.pools" . | fromYaml).pools -}}
{{- include "fovea.gateway.check" (dict "root" . "pools" $pools) -}}
{{- $gateway := .Values.gateway -}}
{{- $http := dict "host" "0.0.0.0" "port" 8080 "workers" (int $gateway.workers)
  "max_bytes_in_flight" (mul (include "fovea.mib" $gateway.bytesInFlight) 1048576)
  "drain_grace_s" (int $gateway.shutdown.graceSeconds) "drain_s" (int $gateway.shutdown.drainSeconds)
  "idle_timeout_s" (include "fovea.edge.idleSeconds" . | int) -}}
{{- $config := dict "http" $http
  "engines" (include "fovea.gateway.engines" (dict "root" . "pools" $pools) | fromYaml)
  "admission" (dict "gateways" (include "fovea.gateway.count" . | int)) -}}
{{- with include "fovea.gateway.preprocessors" (dict "root" . "pools" $pools) | fromYaml -}}
{{- $_ := set $config.admission "preprocessors" . -}}
{{- end -}}
{{- if $pools -}}
{{- $images := list -}}
{{- range $pools -}}{{- $images = append $images (int .imagesPerRequest) -}}{{- end -}}
{{- /* Whatever the gateway lets in, some engine takes. */ -}}
{{- $_ := set $config "images" (dict "max_count" (max 1 (include "fovea.most" $images | int) | int)) -}}
{{- end -}}
{{- if $gateway.keysSecret.name -}}
{{- $_ := set $config "auth" (dict "keys_file" "/etc/fovea/keys/keys.yaml") -}}
{{- end -}}
{{- $config = mergeOverwrite $config (deepCopy $gateway.config) -}}
{{- /* Whoever is in the cluster calls it by the names of its Service. */ -}}
{{- with $config.http.hosts -}}
{{- $service := include "fovea.gateway.name" $ -}}
{{- $inside := printf "%s.%s" $service $.Release.Namespace -}}
{{- $_ := set $config.http "hosts" (concat . (list $service $inside (printf "%s.svc" $inside)) | uniq) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{- define "fovea.most" -}}
{{- $most := 0 -}}
{{- range . -}}{{- $most = max $most . -}}{{- end -}}
{{- $most -}}
{{- end -}}

{{/* Found by DNS, so that the gateway needs no rights at the API server. */}}
{{- define "fovea.gateway.engines" -}}
{{- $root := .root -}}
{{- $pools := list -}}
{{- $kept := -1.0 -}}
{{- range .pools -}}
{{- $dns := printf "http://%s.%s.svc:%d" (include "fovea.engine.name" (dict "root" $root "pool" .)) $root.Release.Namespace (int $root.Values.engine.port) -}}
{{- $pools = append $pools (dict "name" .name "dns" $dns "models" (list .model.name) "weight" .weight "most" (int .most)) -}}
{{- if or (lt $kept 0.0) (lt (float64 .processorCacheGiB) $kept) -}}{{- $kept = float64 .processorCacheGiB -}}{{- end -}}
{{- end -}}
{{- $engines := dict "pools" $pools -}}
{{- if eq $kept 0.0 -}}
{{- $_ := set $engines "hash_first" false -}}
{{- else if gt $kept 0.0 -}}
{{- $_ := set $engines "hash_first_bytes" (mulf $kept 1073741824 | int64) -}}
{{- end -}}
{{- toYaml $engines -}}
{{- end -}}

{{/* Of each model: out of the values, or out of the model store. */}}
{{- define "fovea.gateway.preprocessors" -}}
{{- $root := .root -}}
{{- $paths := dict -}}
{{- range .pools -}}
{{- if .model.preprocessorConfig -}}
{{- $_ := set $paths .model.name (printf "/etc/fovea/config/preprocessor-%s.json" .name) -}}
{{- else if and $root.Values.gateway.mountModelStore (not (include "fovea.pool.ownClaim" (dict "pool" .))) -}}
{{- $_ := set $paths .model.name (include "fovea.pool.modelDir" (dict "root" $root "pool" .)) -}}
{{- end -}}
{{- end -}}
{{- toYaml $paths -}}
{{- end -}}

{{/* A process holds up to three times its bytes in flight, what it keeps of pictures (128 and 64 MiB), and itself. */}}
{{- define "fovea.gateway.resources" -}}
{{- $gateway := .Values.gateway -}}
{{- $mib := mul $gateway.workers (add (mul 3 (include "fovea.mib" $gateway.bytesInFlight)) 512) -}}
{{- $resources := dict
  "requests" (dict "cpu" (toString (int $gateway.workers)) "memory" (printf "%dMi" (div $mib 2)) "ephemeral-storage" "64Mi")
  "limits" (dict "memory" (printf "%dMi" $mib) "ephemeral-storage" "2Gi") -}}
{{- mergeOverwrite $resources (deepCopy $gateway.resources) | toYaml -}}
{{- end -}}

{{/* What lies in /etc/fovea/config. */}}
{{- define "fovea.gateway.files" -}}
fovea.yaml: |
  {{- include "fovea.gateway.config" . | nindent 2 }}
{{- range $pool := (include "fovea.pools" . | fromYaml).pools }}
{{- with .model.preprocessorConfig }}
preprocessor-{{ $pool.name }}.json: {{ toJson . | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* With the model store mounted, a gateway waits for the files that prices are read from. */}}
{{- define "fovea.gateway.initContainers" -}}
{{- if .Values.gateway.mountModelStore }}
{{- range (include "fovea.pools" . | fromYaml).pools }}
{{- if not (or .model.preprocessorConfig (include "fovea.pool.ownClaim" (dict "pool" .))) }}
- name: await-{{ .name }}
  image: {{ include "fovea.image" (dict "root" $ "image" $.Values.gateway.image) | quote }}
  imagePullPolicy: {{ $.Values.image.pullPolicy }}
  args: [await-checkpoint, {{ include "fovea.pool.modelDir" (dict "root" $ "pool" .) | quote }}, --require, none]
  env: {{- include "fovea.container.env" $ | nindent 4 }}
  resources:
    requests: {cpu: 50m, memory: 128Mi}
    limits: {memory: 512Mi}
  securityContext: {{- include "fovea.container.security" $ | nindent 4 }}
  terminationMessagePolicy: FallbackToLogsOnError
  volumeMounts:
    - {name: models, mountPath: /models, readOnly: true}
    - {name: scratch, mountPath: /tmp}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The longest that any pool may take to be ready. */}}
{{- define "fovea.progressSeconds" -}}
{{- $root := . -}}
{{- $all := list 600 -}}
{{- range (include "fovea.pools" . | fromYaml).pools -}}
{{- $all = append $all (include "fovea.engine.progressSeconds" (dict "root" $root "pool" .) | int) -}}
{{- end -}}
{{- include "fovea.most" $all -}}
{{- end -}}

{{/* What the kubelet asks. It calls pods by their addresses, which a gateway with http.hosts refuses; this name it never does. */}}
{{- define "fovea.gateway.probe" -}}
path: {{ .path }}
port: http
{{- if (.root.Values.gateway.config.http | default dict).hosts }}
httpHeaders: [{name: Host, value: localhost}]
{{- end }}
{{- end -}}
