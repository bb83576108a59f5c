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

{{/* Where a pod may run, of values that say so (nodeSelector, tolerations, ...): (dict "values" V "labels" LABELS). */}}
{{- define "fovea.pod.place" -}}
{{- with .values.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- include "fovea.topologySpread" . }}
{{- end -}}

{{/* Kubernetes would put a pod beside its like otherwise. Where it cannot be, it runs all the same. */}}
{{- define "fovea.topologySpread" -}}
{{- $on := .values.topologySpread }}
{{- if $on.enabled }}
{{- $selector := dict "matchLabels" (fromYaml .labels) }}
{{- $usual := list
  (dict "maxSkew" 1 "topologyKey" "topology.kubernetes.io/zone" "whenUnsatisfiable" "ScheduleAnyway")
  (dict "maxSkew" 1 "topologyKey" "kubernetes.io/hostname" "whenUnsatisfiable" "ScheduleAnyway") }}
{{- $constraints := list }}
{{- range $on.constraints | default $usual }}
{{- $constraints = append $constraints (merge (dict "labelSelector" $selector) .) }}
{{- end }}
topologySpreadConstraints: {{- toYaml $constraints | nindent 2 }}
{{- end }}
{{- end -}}

{{/* On SIGTERM our programs are not ready, and serve on, for their grace: a sleep before it adds nothing but time for
     load balancers that are slower than that. (dict "root" $ "seconds" N "who" "gateway") */}}
{{- define "fovea.preStop" -}}
{{- if .seconds -}}
{{- if semverCompare "<1.30.0-0" .root.Capabilities.KubeVersion.Version }}
{{- fail (printf "%s: shutdown.preStopSeconds needs Kubernetes 1.30, and this is %s: raise shutdown.graceSeconds instead." .who .root.Capabilities.KubeVersion.Version) }}
{{- end -}}
preStop:
  sleep: {seconds: {{ int .seconds }}}
{{- end }}
{{- end -}}

{{/* MiB of a Kubernetes quantity like 512Mi, 1.5Gi. */}}
{{- define "fovea.mib" -}}
{{- $number := regexFind "^[0-9.]+" . | float64 -}}
{{- $factor := get (dict "Ki" (divf 1.0 1024) "Mi" 1.0 "Gi" 1024.0 "Ti" 1048576.0) (regexFind "[KMGT]i$" .) -}}
{{- mulf $number $factor | floor | int64 -}}
{{- end -}}
