{{/* What is mounted into an engine. All take (dict "root" $ "pool" $pool). */}}

{{- define "fovea.engine.mounts" -}}
- {name: models, mountPath: /models, readOnly: true}
- {name: scratch, mountPath: /tmp}
- {name: shm, mountPath: /dev/shm}
{{- if and .pool.embeddingCache.host .pool.embeddingCache.disk.size }}
- {name: embeddings, mountPath: /embeddings}
{{- end }}
{{- with .pool.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The store is mounted for writing at the pod and for reading at the container: some drivers cannot attach a claim for
     both, and Jobs write to it. */}}
{{- define "fovea.engine.volumes" -}}
- name: models
  persistentVolumeClaim: {claimName: {{ include "fovea.pool.modelClaim" . }}}
- name: scratch
  emptyDir: {sizeLimit: {{ .pool.scratch }}}
- name: shm
  emptyDir: {medium: Memory, sizeLimit: {{ include "fovea.engine.shm" . }}}
{{- with .pool.embeddingCache }}
{{- if and .host .disk.size }}
- name: embeddings
  {{- if eq .disk.type "existingClaim" }}
  persistentVolumeClaim: {claimName: {{ .disk.existingClaim }}}
  {{- else if eq .disk.type "ephemeral" }}
  {{- if semverCompare "<1.23.0-0" $.root.Capabilities.KubeVersion.Version }}
  {{- fail (printf "pool '%s': embeddingCache.disk.type ephemeral needs Kubernetes 1.23, and this is %s: use emptyDir." $.pool.name $.root.Capabilities.KubeVersion.Version) }}
  {{- end }}
  ephemeral:
    volumeClaimTemplate:
      spec:
        accessModes: [ReadWriteOnce]
        {{- with .disk.storageClass }}
        storageClassName: {{ . | quote }}
        {{- end }}
        resources:
          requests: {storage: {{ .disk.size }}}
  {{- else }}
  emptyDir: {sizeLimit: {{ .disk.size }}}
  {{- end }}
{{- end }}
{{- end }}
{{- with .pool.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
