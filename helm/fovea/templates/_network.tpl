{{/* What NetworkPolicies have in common. */}}

{{- define "fovea.network.dns" -}}
{{- $dns := .Values.networkPolicy.dns -}}
- ports:
  {{- range $dns.ports }}
    - {port: {{ int . }}, protocol: UDP}
    - {port: {{ int . }}, protocol: TCP}
  {{- end }}
  {{- with $dns.to }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* (dict "root" $ "ports" (list 443)): what is nobody's own address. */}}
{{- define "fovea.network.internet" -}}
{{- with .root.Values.networkPolicy.internet -}}
- ports:
  {{- range $.ports }}
    - {port: {{ . }}, protocol: TCP}
  {{- end }}
  to:
    - ipBlock:
        cidr: 0.0.0.0/0
        {{- with .except }}
        except: {{- toYaml . | nindent 10 }}
        {{- end }}
    - ipBlock:
        cidr: ::/0
        {{- with .exceptV6 }}
        except: {{- toYaml . | nindent 10 }}
        {{- end }}
{{- end -}}
{{- end -}}

{{/* Peers of the gateway: those named, or whom the way in says. */}}
{{- define "fovea.network.gatewayFrom" -}}
{{- if .Values.networkPolicy.gatewayFrom -}}
{{ toYaml .Values.networkPolicy.gatewayFrom }}
{{- else if ne .Values.gateway.service.type "ClusterIP" -}}
- ipBlock: {cidr: 0.0.0.0/0}
- ipBlock: {cidr: ::/0}
- namespaceSelector: {}
{{- else if or .Values.ingress.enabled .Values.httpRoute.enabled -}}
- namespaceSelector: {}
{{- else -}}
- podSelector: {}
{{- end -}}
{{- end -}}

{{/* The pods of an engine that is cut over several nodes speak by many ports (NCCL). */}}
{{- define "fovea.network.shards" -}}
{{- if .pools -}}
- {{ .way }}:
    - podSelector:
        matchLabels: {{- include "fovea.selectorLabels" (dict "root" .root "component" "engine") | nindent 10 }}
        matchExpressions:
          - {key: fovea.dev/pool, operator: In, values: {{ toJson .pools }}}
{{- end -}}
{{- end -}}
