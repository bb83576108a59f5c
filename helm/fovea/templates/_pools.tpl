{{/* Pools: what each says, merged over poolDefaults, its preset and pool-defaults.yaml, and refused where it contradicts itself. */}}

{{/* {pools: [...]}, for fromYaml. Numbers come back as floats: `int` them. */}}
{{- define "fovea.pools" -}}
{{- $root := . -}}
{{- $pools := list -}}
{{- $seen := dict -}}
{{- range .Values.pools -}}
{{- $pool := include "fovea.pool.merged" (dict "root" $root "pool" .) | fromYaml -}}
{{- if hasKey $seen $pool.name -}}
{{- fail (printf "two pools are named '%s': give each its own name." $pool.name) -}}
{{- end -}}
{{- $_ := set $seen $pool.name true -}}
{{- include "fovea.pool.check" (dict "root" $root "pool" $pool) -}}
{{- $pools = append $pools $pool -}}
{{- end -}}
{{- toYaml (dict "pools" $pools) -}}
{{- end -}}

{{/* Maps are merged key by key, lists replaced; false, 0 and "" count as said (mergeOverwrite keeps them). */}}
{{- define "fovea.pool.merged" -}}
{{- $named := .pool.preset | default .root.Values.poolDefaults.preset | default "" -}}
{{- $preset := dict -}}
{{- if $named -}}
{{- $file := .root.Files.Get (printf "gpu-presets/%s.yaml" $named) -}}
{{- if not $file -}}
{{- $known := list -}}
{{- range $path, $_ := .root.Files.Glob "gpu-presets/*.yaml" -}}{{- $known = append $known (base $path | trimSuffix ".yaml") -}}{{- end -}}
{{- fail (printf "pool '%s': there is no preset '%s', only %s." .pool.name $named (sortAlpha $known | join ", ")) -}}
{{- end -}}
{{- $preset = fromYaml $file -}}
{{- end -}}
{{- $defaults := .root.Files.Get "pool-defaults.yaml" | fromYaml -}}
{{- $merged := mergeOverwrite $defaults $preset (deepCopy .root.Values.poolDefaults) (deepCopy .pool) -}}
{{- if not $merged.model.path -}}
{{- $_ := set $merged.model "path" $merged.model.name -}}
{{- end -}}
{{- toYaml $merged -}}
{{- end -}}

{{/* What a schema cannot say, each in one sentence. */}}
{{- define "fovea.pool.check" -}}
{{- $pool := .pool -}}
{{- $who := printf "pool '%s'" $pool.name -}}
{{- if not (regexMatch "^[a-z]([a-z0-9-]{0,18}[a-z0-9])?$" $pool.name) -}}
{{- fail (printf "%s: a pool's name is at most 20 lower-case letters, digits and dashes, a letter first." $who) -}}
{{- end -}}
{{- if not $pool.model.name -}}
{{- fail (printf "%s: model.name is empty: say what callers shall call the model." $who) -}}
{{- end -}}
{{- if gt (len $pool.source) 1 -}}
{{- fail (printf "%s: source names %s: a checkpoint comes from one of pvc, hub, oci and s3." $who (keys $pool.source | sortAlpha | join " and ")) -}}
{{- end -}}
{{- $gpus := include "fovea.engine.gpus" . | int -}}
{{- if and $pool.gpu.enabled (gt (int $pool.gpu.perNode) 0) (gt $gpus (int $pool.gpu.perNode)) -}}
{{- fail (printf "%s: an engine of %d GPUs (tensorParallel x pipelineParallel) does not fit a node with gpu.perNode %d: lower them, raise gpu.perNode if such nodes have more, or use leaderWorkerSet." $who $gpus (int $pool.gpu.perNode)) -}}
{{- end -}}
{{- if and (not $pool.gpu.enabled) (gt (mul $pool.tensorParallel $pool.pipelineParallel | int) 1) -}}
{{- fail (printf "%s: tensorParallel and pipelineParallel need GPUs, and its preset has none." $who) -}}
{{- end -}}
{{- if and (hasPrefix "fp8" $pool.kvCacheDtype) (not $pool.gpu.fp8) -}}
{{- fail (printf "%s: kvCacheDtype %s needs a GPU that multiplies FP8 (l4, l40s, h100, h200), and preset '%s' has none: say auto." $who $pool.kvCacheDtype $pool.preset) -}}
{{- end -}}
{{- if and (eq $pool.embeddingCache.disk.type "existingClaim") $pool.embeddingCache.disk.size -}}
{{- if not $pool.embeddingCache.disk.existingClaim -}}
{{- fail (printf "%s: embeddingCache.disk.existingClaim is empty: name the claim, or use emptyDir or ephemeral." $who) -}}
{{- end -}}
{{- if gt (int $pool.replicas) 1 -}}
{{- fail (printf "%s: embeddingCache.disk.existingClaim is one folder and replicas %d engines, each of which needs its own: use emptyDir or ephemeral." $who (int $pool.replicas)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The folder that its engines serve. A claim of one's own is mounted in place of the store, unless it is but the source. */}}
{{- define "fovea.pool.ownClaim" -}}
{{- if and .pool.source.pvc (not .pool.quantize.enabled) -}}{{ .pool.source.pvc.claimName }}{{- end -}}
{{- end -}}

{{- define "fovea.pool.modelClaim" -}}
{{- include "fovea.pool.ownClaim" . | default (include "fovea.modelStore.claim" .root) -}}
{{- end -}}

{{- define "fovea.pool.modelDir" -}}
{{- if include "fovea.pool.ownClaim" . -}}
{{- printf "/models/%s" (.pool.source.pvc.path | default "") | trimSuffix "/" -}}
{{- else -}}
/models/{{ .pool.model.path }}
{{- end -}}
{{- end -}}
