{{/* How KEDA asks Prometheus. An empty answer is an error, not nought: then replicas stay as they are.
     (dict "root" $ "query" PROMQL "threshold" NUMBER) */}}
{{- define "fovea.autoscaling.kedaPrometheus" -}}
metadata:
  serverAddress: {{ .root.Values.autoscaling.prometheusAddress | quote }}
  query: {{ .query | quote }}
  threshold: {{ .threshold | toString | quote }}
  ignoreNullValues: "false"
{{- with .root.Values.autoscaling.authentication }}
{{- if .name }}
  authModes: {{ .modes | quote }}
authenticationRef:
  kind: {{ .kind }}
  name: {{ .name }}
{{- end }}
{{- end }}
{{- end -}}
