{{/* What every pod of ours has in common: restricted Pod Security, no token, no environment out of Services (a Service named
     fovea-... would become FOVEA_..., which our programs refuse as unknown settings). */}}

{{- define "fovea.pod.common" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  {{- with .Values.security.uid }}
  runAsUser: {{ int64 . }}
  {{- end }}
  {{- with .Values.security.gid }}
  runAsGroup: {{ int64 . }}
  fsGroup: {{ int64 . }}
  fsGroupChangePolicy: OnRootMismatch
  {{- end }}
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "fovea.container.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* HOME and a name: libraries ask for both, and the user may be one that the image does not know. */}}
{{- define "fovea.container.env" -}}
- {name: HOME, value: /tmp}
- {name: LOGNAME, value: fovea}
{{- end -}}

{{/* (dict "on" .topologySpread "labels" LABELS) */}}
{{- define "fovea.topologySpread" -}}
{{- if .on.enabled }}
{{- $labels := .labels | fromYaml }}
{{- $default := list
  (dict "maxSkew" 1 "topologyKey" "topology.kubernetes.io/zone" "whenUnsatisfiable" "ScheduleAnyway")
  (dict "maxSkew" 1 "topologyKey" "kubernetes.io/hostname" "whenUnsatisfiable" "ScheduleAnyway") }}
topologySpreadConstraints:
{{- range .on.constraints | default $default }}
  - {{- merge (deepCopy .) (dict "labelSelector" (dict "matchLabels" $labels)) | toYaml | nindent 4 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* MiB of a Kubernetes quantity like 512Mi, 1.5Gi. */}}
{{- define "fovea.mib" -}}
{{- $number := regexFind "^[0-9.]+" . | float64 -}}
{{- $unit := regexFind "[KMGT]i$" . -}}
{{- $factor := index (dict "Ki" (divf 1.0 1024) "Mi" 1.0 "Gi" 1024.0 "Ti" 1048576.0) $unit -}}
{{- mulf $number $factor | floor | int64 -}}
{{- end -}}
