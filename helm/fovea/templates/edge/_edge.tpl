{{/* What proxies in front of the gateway are told, computed from the gateway's own settings. They must be told more than it
     allows itself, so that it is the gateway that refuses: in OpenAI's words, and with a reason. */}}

{{/* The gateway's setting at SECTION.NAME, or what its default is: tests/chart/test_edge.py holds these to server/settings.py.
     (dict "root" $ "section" "http" "name" "max_body" "default" "32MiB") */}}
{{- define "fovea.edge.setting" -}}
{{- $value := dig .section .name .default .root.Values.gateway.config -}}
{{- if kindIs "float64" $value -}}{{- $value = ternary (int64 $value) $value (eq (floor $value) $value) -}}{{- end -}}
{{- $value -}}
{{- end -}}

{{/* The largest body that the gateway takes, in whole MiB: of a request, or of a file where files are kept. */}}
{{- define "fovea.edge.bodyMiB" -}}
{{- $most := include "fovea.edge.size" (dict "root" . "section" "http" "name" "max_body" "default" "32MiB") | float64 -}}
{{- if include "fovea.edge.setting" (dict "root" . "section" "files" "name" "path" "default" "") -}}
{{- $image := include "fovea.edge.size" (dict "root" . "section" "images" "name" "max_bytes" "default" "20MiB") | float64 -}}
{{- $video := include "fovea.edge.size" (dict "root" . "section" "video" "name" "max_bytes" "default" "16MiB") | float64 -}}
{{- $most = maxf $most (addf $image 1) (addf $video 1) -}}
{{- end -}}
{{- ceil $most | int64 -}}
{{- end -}}

{{/* MiB of a setting that is a size, as pydantic reads it: a number of bytes, or with a unit. */}}
{{- define "fovea.edge.size" -}}
{{- $size := include "fovea.edge.setting" . -}}
{{- $number := regexFind "^[0-9]+([.][0-9]+)?" $size -}}
{{- $unit := trimPrefix $number $size | trim | lower | default "b" -}}
{{- $units := dict "b" 1.0 "k" 1000.0 "kb" 1000.0 "m" 1000000.0 "mb" 1000000.0 "g" 1000000000.0 "gb" 1000000000.0
  "kib" 1024.0 "mib" 1048576.0 "gib" 1073741824.0 -}}
{{- if or (not $number) (not (hasKey $units $unit)) -}}
{{- fail (printf "gateway.config.%s.%s '%s' is not a size like 32MiB." .section .name $size) -}}
{{- end -}}
{{- divf (mulf (float64 $number) (get $units $unit)) 1048576.0 -}}
{{- end -}}

{{/* Seconds that a caller has to send a request, or a file where files are kept. */}}
{{- define "fovea.edge.sendSeconds" -}}
{{- $head := include "fovea.edge.setting" (dict "root" . "section" "http" "name" "head_timeout_s" "default" 10) | float64 -}}
{{- $body := include "fovea.edge.setting" (dict "root" . "section" "http" "name" "body_timeout_s" "default" 60) | float64 -}}
{{- if include "fovea.edge.setting" (dict "root" . "section" "files" "name" "path" "default" "") -}}
{{- $file := include "fovea.edge.setting" (dict "root" . "section" "files" "name" "upload_timeout_s" "default" 120) | float64 -}}
{{- $body = maxf $body $file -}}
{{- end -}}
{{- addf $head $body 5 | ceil | int64 -}}
{{- end -}}

{{/* Longest silence of a good answer. One that is not streamed says nothing until it is whole: it waits for memory, then in
     line, then for its engine's first byte, and may be tried a second time. A caller may ask to wait longer. Streams are
     never silent as long: comments keep them open until they begin (http.keepalive_s), then engines.idle_timeout_s. */}}
{{- define "fovea.edge.silenceSeconds" -}}
{{- $memory := include "fovea.edge.setting" (dict "root" . "section" "http" "name" "bytes_wait_s" "default" 10) | float64 -}}
{{- $line := include "fovea.edge.setting" (dict "root" . "section" "admission" "name" "wait_timeout_s" "default" 30) | float64 -}}
{{- $first := include "fovea.edge.setting" (dict "root" . "section" "engines" "name" "first_byte_timeout_s" "default" 300) | float64 -}}
{{- $asked := include "fovea.edge.setting" (dict "root" . "section" "admission" "name" "max_timeout_s" "default" 600) | float64 -}}
{{- $idle := include "fovea.edge.setting" (dict "root" . "section" "engines" "name" "idle_timeout_s" "default" 120) | float64 -}}
{{- $own := addf $memory $line $first $first -}}
{{- addf (maxf $own $asked $idle) 30 | ceil | int64 -}}
{{- end -}}

{{/* From a request's first byte to its answer's last. */}}
{{- define "fovea.edge.totalSeconds" -}}
{{- $total := include "fovea.edge.setting" (dict "root" . "section" "engines" "name" "total_timeout_s" "default" 3600) | float64 -}}
{{- add (ceil $total | int64) (include "fovea.edge.sendSeconds" .) (include "fovea.edge.silenceSeconds" .) -}}
{{- end -}}

{{/* Names that callers use must be names that the gateway takes. (dict "root" $ "names" NAMES "what" "ingress.hosts") */}}
{{- define "fovea.edge.checkNames" -}}
{{- $taken := dig "http" "hosts" list .root.Values.gateway.config -}}
{{- if $taken -}}
{{- $what := .what -}}
{{- range .names -}}
{{- if not (has . $taken) -}}
{{- fail (printf "%s holds '%s', which gateway.config.http.hosts does not: the gateway would refuse every request to it." $what .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Envoy's soft limit of a connection's buffers, 32 KiB by itself: bodies pass through it whatever their size, but a filter
     that looks at them whole (ext_proc, Lua, an authorizer) answers 413 to a picture. */}}
{{- define "fovea.edge.envoyBuffer" -}}
{{- .Values.httpRoute.envoyGateway.bufferLimit | default (printf "%dMi" (add (include "fovea.edge.bodyMiB" .) 1)) -}}
{{- end -}}

{{/* For how long gateways keep idle connections: longer than those in front of them do (ingress-nginx 60 s, Traefik 90 s, Envoy as
     it is told), or a request meets a connection that is just being closed, and its caller a 502. */}}
{{- define "fovea.edge.idleSeconds" -}}120{{- end -}}
