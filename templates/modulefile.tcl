#%Module1.0
## Amore: automatic per-run analysis. The tree is relocatable: all paths are relative to this file.
proc ModulesHelp {} {
    puts stderr "Provides the commands amore, amore-proto and damnit, and supervisorctl for the service of a directory. Load a Python with extra_data first (module load exfel)."
}
module-whatis "automatic per-run analysis for DAMNIT context files"
# Loading two versions at once would mix them.
conflict amore
# A site may link to this file from its own modulefiles. normalize does not resolve a link in the last path element, so one is added.
set file [file dirname [file normalize [file join $ModulesCurrentModulefile -]]]
set prefix [file dirname [file dirname [file dirname [file dirname $file]]]]
prepend-path PATH $prefix/bin
