{{/* Names, labels and images. Selectors never hold the version. */}}

{{- define "fovea.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Room is left for what is added to it, -quantize-POOL and a hash: 63 letters are the most. A longer name ends in its
     hash, so that two releases never share one. */}}
{{- define "fovea.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := .Values.fullnameOverride -}}
{{- if not $full -}}
{{- $full = ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- end -}}
{{- if gt (len $full) 24 -}}
{{- $full = printf "%s-%s" (trunc 18 $full | trimSuffix "-") (sha256sum $full | trunc 5) -}}
{{- end -}}
{{- $full -}}
{{- end -}}

{{- define "fovea.gateway.name" -}}
{{ include "fovea.fullname" . }}-gateway
{{- end -}}

{{/* (dict "root" $ "pool" $pool) */}}
{{- define "fovea.engine.name" -}}
{{ include "fovea.fullname" .root }}-engine-{{ .pool.name }}
{{- end -}}

{{- define "fovea.modelStore.claim" -}}
{{- .Values.modelStore.existingClaim | default (printf "%s-models" (include "fovea.fullname" .)) -}}
{{- end -}}

{{- define "fovea.gateway.serviceAccount" -}}
{{- with .Values.gateway.serviceAccount -}}
{{- .name | default (ternary (include "fovea.gateway.name" $) "default" .create) -}}
{{- end -}}
{{- end -}}

{{- define "fovea.engine.serviceAccount" -}}
{{- with .Values.engine.serviceAccount -}}
{{- .name | default (ternary (printf "%s-engine" (include "fovea.fullname" $)) "default" .create) -}}
{{- end -}}
{{- end -}}

{{/* (dict "root" $ "component" "engine" "pool" "main"): what selectors may hold. Without a component: all of the release's pods. */}}
{{- define "fovea.selectorLabels" -}}
app.kubernetes.io/name: {{ include "fovea.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- with .pool }}
fovea.dev/pool: {{ . | quote }}
{{- end }}
{{- end -}}

{{/* Of pods: no version, so that a new chart alone restarts no engine. */}}
{{- define "fovea.podLabels" -}}
{{ include "fovea.selectorLabels" . }}
app.kubernetes.io/part-of: fovea
{{- end -}}

{{- define "fovea.labels" -}}
{{ include "fovea.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: fovea
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name (.root.Chart.Version | replace "+" "_") }}
{{- end -}}

{{/* (dict "root" $ "image" .Values.gateway.image) */}}
{{- define "fovea.image" -}}
{{- $name := .image.repository -}}
{{- with .root.Values.image.registry -}}
{{- $name = printf "%s/%s" (trimSuffix "/" .) $name -}}
{{- end -}}
{{- if .image.digest -}}
{{ $name }}@{{ .image.digest }}
{{- else -}}
{{- $tag := .image.tag | default .root.Values.image.tag | default .root.Chart.AppVersion -}}
{{- if eq $tag "latest" -}}
{{- fail (printf "the tag of %s is latest, which is another image tomorrow: name a version, or a digest." .image.repository) -}}
{{- end -}}
{{ $name }}:{{ $tag }}
{{- end -}}
{{- end -}}

{{- define "fovea.pdb.apiVersion" -}}
{{- ternary "policy/v1" "policy/v1beta1" (.Capabilities.APIVersions.Has "policy/v1") -}}
{{- end -}}
