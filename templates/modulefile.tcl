#%Module1.0
## Amore: automatic per-run analysis. The tree can be moved: everything is found relative to this file.
proc ModulesHelp {} {
    puts stderr "Gives the commands amore, amore-proto and damnit. Load a Python with extra_data first (module load exfel)."
}
module-whatis "automatic per-run analysis for DAMNIT context files"
# Two versions side by side would be half of each.
conflict amore
# A site may have a link to this file among its own modulefiles: with a name below it, normalize follows that too.
set file [file dirname [file normalize [file join $ModulesCurrentModulefile -]]]
set prefix [file dirname [file dirname [file dirname [file dirname $file]]]]
prepend-path PATH $prefix/bin
