{{/* Where checkpoints come from and where they lie, as Jobs see it. All take (dict "root" $ "pool" $pool). */}}

{{/* What `fovea-quantize pull` fetches; empty where nothing has to be fetched. */}}
{{- define "fovea.source.remote" -}}
{{- with .pool.source -}}
{{- with .hub -}}hf://{{ .repository }}{{ with .revision }}@{{ . }}{{ end }}{{- end -}}
{{- with .oci -}}oci://{{ .reference | trimPrefix "oci://" }}{{- end -}}
{{- with .s3 -}}{{ .url }}{{- end -}}
{{- end -}}
{{- end -}}

{{/* The folder in the store that it is fetched into: what is served, or what that is made of. */}}
{{- define "fovea.source.target" -}}
/models/{{ .pool.model.path }}{{ if .pool.quantize.enabled }}-source{{ end }}
{{- end -}}

{{/* The folder that is quantized. */}}
{{- define "fovea.source.folder" -}}
{{- $root := .root -}}
{{- $source := .pool.source -}}
{{- if $source.pvc -}}
{{- printf "/source/%s" ($source.pvc.path | default "") | trimSuffix "/" -}}
{{- else if $source.image -}}
{{- $source.image.path -}}
{{- else if $source.store -}}
/models/{{ $source.store.path }}
{{- else if $source.pool -}}
{{- include "fovea.pool.modelDir" (dict "root" $root "pool" (include "fovea.pool.named" (dict "root" $root "name" $source.pool) | fromYaml)) -}}
{{- else -}}
{{- include "fovea.source.target" . -}}
{{- end -}}
{{- end -}}

{{/* (dict "root" $ "name" "main"): the pool of that name, merged; nothing where there is none. */}}
{{- define "fovea.pool.named" -}}
{{- $root := .root -}}
{{- $name := .name -}}
{{- range .root.Values.pools -}}
{{- if eq .name $name -}}
{{- include "fovea.pool.merged" (dict "root" $root "pool" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Credentials: Secrets that exist already, by reference alone. */}}
{{- define "fovea.source.env" -}}
{{- with .pool.source.hub -}}
{{- with .tokenSecret -}}
{{- if .name }}
- {name: HF_TOKEN, valueFrom: {secretKeyRef: {name: {{ .name }}, key: {{ .key | default "token" }}}}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with .pool.source.s3 -}}
{{- with .endpoint }}
- {name: AWS_ENDPOINT_URL, value: {{ . | quote }}}
{{- end }}
{{- with .region }}
- {name: AWS_REGION, value: {{ . | quote }}}
{{- end }}
{{- with .secret }}
- {name: AWS_ACCESS_KEY_ID, valueFrom: {secretKeyRef: {name: {{ . }}, key: AWS_ACCESS_KEY_ID}}}
- {name: AWS_SECRET_ACCESS_KEY, valueFrom: {secretKeyRef: {name: {{ . }}, key: AWS_SECRET_ACCESS_KEY}}}
- {name: AWS_SESSION_TOKEN, valueFrom: {secretKeyRef: {name: {{ . }}, key: AWS_SESSION_TOKEN, optional: true}}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Whether all nodes that mount the store have to be one. */}}
{{- define "fovea.modelStore.oneNode" -}}
{{- if not (has "ReadWriteMany" .Values.modelStore.accessModes) -}}true{{- end -}}
{{- end -}}
