{{/* Jobs that put checkpoints into the model store. Each may be stopped at any time: the same command goes on where it was, and is
     content with what is there already, so that a Job that an upgrade makes anew (new image, new name) is done in a moment. */}}

{{/* (dict "root" $ "pool" $pool "kind" "download" "spec" POD "annotations" MAP): a Job. Its spec is immutable, so its name holds a hash of it. */}}
{{- define "fovea.job" -}}
{{- $spec := include "fovea.job.spec" . -}}
{{- $labels := dict "root" .root "component" .kind "pool" .pool.name -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ include "fovea.fullname" .root }}-{{ .kind }}-{{ .pool.name }}-{{ $spec | sha256sum | trunc 8 }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "fovea.labels" $labels | nindent 4 }}
spec: {{- $spec | nindent 2 }}
{{- end -}}

{{- define "fovea.job.spec" -}}
{{- $root := .root -}}
{{- with .root.Values.quantize -}}
backoffLimit: {{ int .backoffLimit }}
activeDeadlineSeconds: {{ int .activeDeadlineSeconds }}
{{- if .ttlSecondsAfterFinished }}
ttlSecondsAfterFinished: {{ int .ttlSecondsAfterFinished }}
{{- end }}
{{- end }}
{{- if semverCompare ">=1.26-0" .root.Capabilities.KubeVersion.Version }}
podFailurePolicy:
  rules:
    # A drained node is nobody's failure.
    - action: Ignore
      onPodConditions: [{type: DisruptionTarget, status: "True"}]
    # What trying again cannot mend (docs/quantizing.md, Exit codes): recipe, policy, checkpoint, a red gate.
    - action: FailJob
      onExitCodes: {operator: In, values: [3, 4, 5, 6, 9, 10, 11]}
{{- end }}
template:
  metadata:
    labels: {{- include "fovea.podLabels" (dict "root" .root "component" .kind "pool" .pool.name) | nindent 6 }}
    {{- with .annotations }}
    annotations: {{- toYaml . | nindent 6 }}
    {{- end }}
  spec:
    {{- include "fovea.pod.common" .root | nindent 4 }}
    serviceAccountName: {{ include "fovea.quantize.serviceAccount" .root }}
    # A new pod for each try: what the last one said stays to be read.
    restartPolicy: Never
    {{- .spec | nindent 4 }}
    {{- with include "fovea.job.placement" . | trim }}
    {{- . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/* (dict "root" $ "name" "run" "args" LIST "mounts" LIST "env" TEXT "command" "fovea"): a container. */}}
{{- define "fovea.job.container" -}}
- name: {{ .name }}
  image: {{ include "fovea.image" (dict "root" .root "image" .root.Values.quantize.image) | quote }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  {{- with .command }}
  command: [{{ . }}]
  {{- end }}
  args: {{- toYaml .args | nindent 4 }}
  env:
    {{- include "fovea.container.env" .root | nindent 4 }}
    {{- with .env }}
    {{- . | trim | nindent 4 }}
    {{- end }}
    {{- with .root.Values.quantize.env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .root.Values.quantize.envFrom }}
  envFrom: {{- toYaml . | nindent 4 }}
  {{- end }}
  resources: {{- toYaml .root.Values.quantize.resources | nindent 4 }}
  securityContext: {{- include "fovea.container.security" .root | nindent 4 }}
  terminationMessagePolicy: FallbackToLogsOnError
  volumeMounts:
    - {name: models, mountPath: /models}
    - {name: scratch, mountPath: /tmp}
    {{- range .mounts }}
    - {{ toJson . }}
    {{- end }}
{{- end -}}

{{- define "fovea.job.volumes" -}}
- name: models
  persistentVolumeClaim: {claimName: {{ include "fovea.modelStore.claim" . }}}
- name: scratch
  emptyDir: {sizeLimit: 2Gi}
{{- end -}}

{{- define "fovea.quantize.serviceAccount" -}}
{{- with .Values.quantize.serviceAccount -}}
{{- .name | default (ternary (printf "%s-quantize" (include "fovea.fullname" $)) "default" .create) -}}
{{- end -}}
{{- end -}}

{{/* A store of one node's is where the pool's engines are: a Job elsewhere would hang, or keep them from starting. */}}
{{- define "fovea.job.placement" -}}
{{- $quantize := .root.Values.quantize -}}
{{- $affinity := deepCopy $quantize.affinity -}}
{{- $tolerations := $quantize.tolerations -}}
{{- if and (include "fovea.modelStore.oneNode" .root) (include "fovea.pool.engines" .) -}}
{{- $labels := include "fovea.selectorLabels" (dict "root" .root "component" "engine" "pool" .pool.name) | fromYaml -}}
{{- $beside := dict "topologyKey" "kubernetes.io/hostname" "labelSelector" (dict "matchLabels" $labels) -}}
{{- $pods := $affinity.podAffinity | default dict -}}
{{- $required := append ($pods.requiredDuringSchedulingIgnoredDuringExecution | default list) $beside -}}
{{- $_ := set $affinity "podAffinity" (set $pods "requiredDuringSchedulingIgnoredDuringExecution" $required) -}}
{{- $tolerations = concat $tolerations .pool.tolerations | uniq -}}
{{- end -}}
{{- with $affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $quantize.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* How many engines there are from the start; empty: none. */}}
{{- define "fovea.pool.engines" -}}
{{- $count := int .pool.replicas -}}
{{- if .pool.autoscaling.enabled -}}{{- $count = int .pool.autoscaling.min -}}{{- end -}}
{{- if $count -}}{{ $count }}{{- end -}}
{{- end -}}
