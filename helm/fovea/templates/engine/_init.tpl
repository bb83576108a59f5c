{{/* What an engine waits for before it starts, and before it is ready. All take (dict "root" $ "pool" $pool). */}}

{{/* verified, gated or none. */}}
{{- define "fovea.pool.require" -}}
{{- $policy := .pool.servePolicy | default .root.Values.servePolicy -}}
{{- index (dict "requireVerified" "verified" "requireGated" "gated" "none" "none") $policy -}}
{{- end -}}

{{/* Whether the release's own gate decides: it asks these very engines, so they have to run before it says yes. */}}
{{- define "fovea.pool.onTrial" -}}
{{- if and .pool.quantize.evaluate.enabled (eq (include "fovea.pool.require" .) "gated") -}}true{{- end -}}
{{- end -}}

{{- define "fovea.engine.initContainers" -}}
{{- $root := .root -}}
- name: checkpoint
  image: {{ include "fovea.image" (dict "root" $root "image" $root.Values.engine.image) | quote }}
  imagePullPolicy: {{ $root.Values.image.pullPolicy }}
  args:
    - await-checkpoint
    - {{ include "fovea.pool.modelDir" . }}
    - --require={{ ternary "trial" (include "fovea.pool.require" .) (eq (include "fovea.pool.onTrial" .) "true") }}
  env: {{- include "fovea.container.env" $root | nindent 4 }}
  resources:
    requests: {cpu: 50m, memory: 256Mi}
    limits: {memory: 1Gi}
  securityContext: {{- include "fovea.container.security" $root | nindent 4 }}
  terminationMessagePolicy: FallbackToLogsOnError
  volumeMounts:
    - {name: models, mountPath: /models, readOnly: true}
    - {name: scratch, mountPath: /tmp}
{{- end -}}

{{/* Engines on trial run, and are in no gateway's list until the gate is green. */}}
{{- define "fovea.engine.readinessProbe" -}}
{{- if include "fovea.pool.onTrial" . -}}
exec:
  command:
    - fovea
    - healthcheck
    - --url=http://127.0.0.1:{{ int .root.Values.engine.port }}/health
    - --gated={{ include "fovea.pool.modelDir" . }}
periodSeconds: 5
timeoutSeconds: 10
failureThreshold: 2
{{- else -}}
httpGet: {path: /health, port: http}
periodSeconds: 2
timeoutSeconds: 5
failureThreshold: 2
{{- end -}}
{{- end -}}

{{- define "fovea.trial.name" -}}
{{ include "fovea.fullname" .root }}-trial-{{ .pool.name }}
{{- end -}}

{{/* (dict "root" $ "service" NAME): the OpenAI base URL of engines. */}}
{{- define "fovea.engine.url" -}}
{{- printf "http://%s.%s.svc:%d/v1" .service .root.Release.Namespace (int .root.Values.engine.port) -}}
{{- end -}}
