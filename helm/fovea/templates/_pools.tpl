{{/* Pools: what each says, merged over poolDefaults, its preset and pool-defaults.yaml, and refused where it contradicts itself. */}}

{{/* {pools: [...]}, for fromYaml. Numbers come back as floats: `int` them. Most templates ask, and it is two thirds of all
     that there is to do: it is computed once, and kept where all templates of a chart see it. No value may have this name. */}}
{{- define "fovea.pools" -}}
{{- if not (hasKey .Values "computedPools") -}}
{{- $_ := set .Values "computedPools" (include "fovea.pools.computed" .) -}}
{{- end -}}
{{- .Values.computedPools -}}
{{- end -}}

{{- define "fovea.pools.computed" -}}
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
{{- include "fovea.jobs.check" (dict "root" $root "pools" $pools) -}}
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

{{/* The folder that its engines serve. A claim of one's own is mounted in place of the store, unless it is but the source. */}}
{{- define "fovea.pool.ownClaim" -}}
{{- if and .pool.source.pvc (not .pool.quantize.enabled) -}}{{ .pool.source.pvc.claimName }}{{- end -}}
{{- end -}}

{{- define "fovea.pool.modelClaim" -}}
{{- include "fovea.pool.ownClaim" . | default (include "fovea.modelStore.claim" .root) -}}
{{- end -}}

{{- define "fovea.pool.modelDir" -}}
{{- if and .pool.source.image (not .pool.quantize.enabled) -}}
{{- .pool.source.image.path -}}
{{- else if include "fovea.pool.ownClaim" . -}}
{{- printf "/models/%s" (.pool.source.pvc.path | default "") | trimSuffix "/" -}}
{{- else -}}
/models/{{ .pool.model.path }}
{{- end -}}
{{- end -}}
