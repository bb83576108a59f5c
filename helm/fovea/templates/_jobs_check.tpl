{{/* What contradicts itself about checkpoints, each in one sentence. (dict "root" $ "pools" MERGED) */}}

{{- define "fovea.jobs.check" -}}
{{- $root := .root -}}
{{- $pools := .pools -}}
{{- $made := dict -}}
{{- range $pools -}}
{{- $this := dict "root" $root "pool" . -}}
{{- include "fovea.source.check" (merge (dict "pools" $pools) $this) -}}
{{- include "fovea.quantize.check" $this -}}
{{- include "fovea.gate.check" (merge (dict "pools" $pools) $this) -}}
{{- $from := include "fovea.source.remote" $this -}}
{{- $makes := dict -}}
{{- if $from -}}{{- $_ := set $makes (include "fovea.source.target" $this) $from -}}{{- end -}}
{{- if .quantize.enabled -}}
{{- $_ := set $makes (include "fovea.pool.modelDir" $this) (printf "%s of %s" .quantize.recipe (include "fovea.source.folder" $this)) -}}
{{- end -}}
{{- $who := .name -}}
{{- range $folder, $what := $makes -}}
{{- $other := get $made $folder | default (dict "what" $what "who" $who) -}}
{{- if ne $other.what $what -}}
{{- fail (printf "pools '%s' and '%s' both fill %s in the model store, with %s and %s: give one of them another model.path." $other.who $who (trimPrefix "/models/" $folder) $other.what $what) -}}
{{- end -}}
{{- $_ := set $made $folder $other -}}
{{- end -}}
{{- end -}}
{{- include "fovea.modelStore.check" . -}}
{{- end -}}

{{- define "fovea.source.check" -}}
{{- $who := printf "pool '%s'" .pool.name -}}
{{- $source := .pool.source -}}
{{- if and (or $source.pool $source.store) (not .pool.quantize.enabled) -}}
{{- fail (printf "%s: source.%s says what is quantized, and quantize.enabled is false: to serve a folder of the model store, name it in model.path." $who (keys $source | first)) -}}
{{- end -}}
{{- if and $source.image (not .pool.quantize.enabled) .root.Values.gateway.mountModelStore (not .pool.model.preprocessorConfig) -}}
{{- fail (printf "%s: source.image lies in the engines' image, where gateway.mountModelStore finds nothing: say model.preprocessorConfig." $who) -}}
{{- end -}}
{{- if $source.pool -}}
{{- $other := dict -}}
{{- range .pools -}}{{- if eq .name $source.pool -}}{{- $other = . -}}{{- end -}}{{- end -}}
{{- if or (not $other) (eq $source.pool .pool.name) -}}
{{- fail (printf "%s: source.pool '%s' is no other pool: name the one that serves the unquantized checkpoint." $who $source.pool) -}}
{{- end -}}
{{- if include "fovea.pool.ownClaim" (dict "root" .root "pool" $other) -}}
{{- fail (printf "%s: source.pool '%s' serves a claim of its own: say source.pvc here, too." $who $source.pool) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "fovea.quantize.check" -}}
{{- $who := printf "pool '%s'" .pool.name -}}
{{- $quantize := .pool.quantize -}}
{{- if $quantize.enabled -}}
{{- $known := list "fp8-dynamic" "fp8-dynamic-balanced" "fp8-dynamic-compact" -}}
{{- if has $quantize.recipe (list "w8a8-int8" "w4a16" "w4a16-awq") -}}
{{- fail (printf "%s: recipe %s is calibrated by llm-compressor, which the quantize image has not got: make that checkpoint elsewhere (docs/quantizing.md) and name it as source, without quantize." $who $quantize.recipe) -}}
{{- else if not (has $quantize.recipe $known) -}}
{{- fail (printf "%s: there is no recipe '%s' for a Job, only %s." $who $quantize.recipe (join ", " $known)) -}}
{{- end -}}
{{- if not .pool.source -}}
{{- fail (printf "%s: quantize.enabled needs a source in BF16 or FP16: one of hub, oci, s3, pvc, pool, store and image." $who) -}}
{{- end -}}
{{- if eq (include "fovea.source.folder" .) (include "fovea.pool.modelDir" .) -}}
{{- fail (printf "%s: %s is to be quantized into itself: give model.path another name." $who (include "fovea.source.folder" .)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "fovea.gate.check" -}}
{{- $who := printf "pool '%s'" .pool.name -}}
{{- $evaluate := .pool.quantize.evaluate -}}
{{- if and .pool.quantize.enabled (not $evaluate.enabled) (eq (include "fovea.pool.require" .) "gated") -}}
{{- fail (printf "%s: servePolicy requireGated would wait for ever, for nothing measures the checkpoint that it makes: say quantize.evaluate.enabled, or servePolicy requireVerified, or leave source and quantize out if it has passed already." $who) -}}
{{- end -}}
{{- if $evaluate.enabled -}}
{{- if not .pool.quantize.enabled -}}
{{- fail (printf "%s: quantize.evaluate compares a checkpoint with what it was made of, and quantize.enabled is false." $who) -}}
{{- end -}}
{{- $base := dict -}}
{{- range .pools -}}{{- if eq .name $evaluate.base -}}{{- $base = . -}}{{- end -}}{{- end -}}
{{- if or (not $base) (eq $evaluate.base .pool.name) -}}
{{- fail (printf "%s: quantize.evaluate.base is '%s': name another pool of this release, one that serves the unquantized checkpoint." $who $evaluate.base) -}}
{{- end -}}
{{- if and (include "fovea.pool.onTrial" (dict "root" .root "pool" $base)) (eq $base.quantize.evaluate.base .pool.name) -}}
{{- fail (printf "%s and pool '%s' are each other's base, so that neither is ever ready: the base is the unquantized checkpoint." $who $base.name) -}}
{{- end -}}
{{- $named := .pool.name -}}
{{- $root := .root -}}
{{- range list .pool $base -}}
{{- if not (include "fovea.pool.engines" (dict "root" $root "pool" .)) -}}
{{- fail (printf "pool '%s': quantize.evaluate asks engines of pools '%s' and '%s', and '%s' has none (replicas, or autoscaling.min, is 0)." $named $base.name $named .name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* One node's store under engines that need several: they would stay in ContainerCreating, and nothing would say why. */}}
{{- define "fovea.modelStore.check" -}}
{{- $root := .root -}}
{{- $gpus := 0 -}}
{{- $node := 0 -}}
{{- $known := true -}}
{{- $names := list -}}
{{- if include "fovea.modelStore.oneNode" .root -}}
{{- range .pools -}}
{{- $this := dict "root" $root "pool" . -}}
{{- if not (include "fovea.pool.ownClaim" $this) -}}
{{- if .leaderWorkerSet.enabled -}}
{{- fail (printf "pool '%s': leaderWorkerSet spreads an engine over nodes, and modelStore.accessModes %s is one node's alone: use a class with ReadWriteMany." .name (toJson $root.Values.modelStore.accessModes)) -}}
{{- end -}}
{{- if .gpu.enabled -}}
{{- $engines := ternary (int .autoscaling.max) (int .replicas) .autoscaling.enabled -}}
{{- $gpus = add $gpus (mul $engines (include "fovea.engine.gpus" $this | int)) -}}
{{- $node = max $node (int .gpu.perNode) -}}
{{- $known = and $known (gt (int .gpu.perNode) 0) -}}
{{- $names = append $names (squote .name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $known (gt (int $gpus) (int $node)) -}}
{{- fail (printf "%s %s takes %d GPUs (autoscaling.max counted) and a node has %d (gpu.perNode), so engines need several nodes, but modelStore.accessModes %s is one node's alone: use a class with ReadWriteMany, or raise gpu.perNode if nodes have more." (ternary "pools" "pool" (gt (len $names) 1)) (join ", " $names) (int $gpus) (int $node) (toJson $root.Values.modelStore.accessModes)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
