{{- define "fovea.autoscaling.gatewayCheck" -}}
{{- with .Values.gateway.autoscaling -}}
{{- if and (eq .kind "keda") (not $.Values.autoscaling.prometheusAddress) -}}
{{- fail "gateway.autoscaling with kind keda needs autoscaling.prometheusAddress: which Prometheus shall KEDA ask?" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Gateways start within seconds, and stop once their streams have ended. */}}
{{- define "fovea.autoscaling.gatewayBehavior" -}}
scaleUp:
  stabilizationWindowSeconds: 0
scaleDown:
  stabilizationWindowSeconds: 300
  policies:
    - {type: Pods, value: 1, periodSeconds: 60}
{{- end -}}
