{{/* What of the gateway's values contradicts itself, each in one sentence. (dict "root" $ "pools" $pools) */}}

{{- define "fovea.gateway.check" -}}
{{- $values := .root.Values -}}
{{- $gateway := $values.gateway -}}
{{- $config := $gateway.config -}}
{{- $engines := $config.engines | default dict -}}
{{- if not (or .pools $engines.urls $engines.pools) -}}
{{- fail "pools is empty, and gateway.config.engines names no engines either: say what shall be served, for example with --values helm/fovea/presets/l4-x1.yaml." -}}
{{- end -}}
{{- include "fovea.gateway.check.keys" .root -}}
{{- range $section, $keys := dict "http" (dict "max_bytes_in_flight" "gateway.bytesInFlight" "workers" "gateway.workers" "drain_grace_s" "gateway.shutdown.graceSeconds" "drain_s" "gateway.shutdown.drainSeconds" "host" "nothing: pods listen everywhere" "port" "gateway.service.port") "auth" (dict "keys_file" "gateway.keysSecret") -}}
{{- range $key, $instead := $keys -}}
{{- if hasKey (get $config $section | default dict) $key -}}
{{- fail (printf "gateway.config.%s.%s would contradict the pod: set %s." $section $key $instead) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if contains "@" (($config.limits | default dict).store_url | default "") -}}
{{- fail "gateway.config.limits.store_url has a password, which a ConfigMap shows to many: put it into a Secret, and name that in gateway.limitsSecret.name." -}}
{{- end -}}
{{- /* Its own arithmetic (server/settings.py), where nothing else is said about bodies and pictures. */ -}}
{{- if and (not $config.images) (not $config.http) (not $config.video) (lt (include "fovea.mib" $gateway.bytesInFlight | int) 180) -}}
{{- fail (printf "gateway.bytesInFlight %s holds no request of the largest kind (http.max_body, images.max_request_bytes): give it 180Mi, or lower those in gateway.config." $gateway.bytesInFlight) -}}
{{- end -}}
{{- $files := $config.files | default dict -}}
{{- if and $files.path (not $files.s3_bucket) (gt (include "fovea.gateway.count" .root | int) 1) -}}
{{- fail "gateway.config.files.path without files.s3_bucket keeps files at one gateway, and there are several: name a bucket, or set gateway.replicas to 1." -}}
{{- end -}}
{{- with $gateway.autoscaling -}}
{{- if and .enabled (gt (int .min) (int .max)) -}}
{{- fail (printf "gateway.autoscaling.min %d is above max %d." (int .min) (int .max)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Serving everybody has to be said, and cannot be said of the internet. */}}
{{- define "fovea.gateway.check.keys" -}}
{{- $gateway := .Values.gateway -}}
{{- $auth := $gateway.config.auth | default dict -}}
{{- $oidc := $gateway.config.oidc | default dict -}}
{{- $asks := or $gateway.keysSecret.name $auth.key_hashes $oidc.issuer -}}
{{- range $gateway.env -}}
{{- if has .name (list "FOVEA_AUTH__KEY_HASHES" "FOVEA_AUTH__KEYS_FILE" "FOVEA_OIDC__ISSUER") -}}{{- $asks = true -}}{{- end -}}
{{- end -}}
{{- if and (not $asks) (not $gateway.allowAnonymous) -}}
{{- fail "no API keys: name a Secret with a keys file in gateway.keysSecret.name (docs/operating.md, Keys), or set gateway.allowAnonymous=true to serve whoever can reach the gateway." -}}
{{- end -}}
{{- if not $asks -}}
{{- $outside := list -}}
{{- if .Values.ingress.enabled -}}{{- $outside = append $outside "ingress.enabled" -}}{{- end -}}
{{- if .Values.httpRoute.enabled -}}{{- $outside = append $outside "httpRoute.enabled" -}}{{- end -}}
{{- if ne $gateway.service.type "ClusterIP" -}}{{- $outside = append $outside (printf "gateway.service.type %s" $gateway.service.type) -}}{{- end -}}
{{- if $outside -}}
{{- fail (printf "gateway.allowAnonymous with %s would serve strangers from outside the cluster: name a Secret with keys in gateway.keysSecret.name." (join " and " $outside)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
