//! What launchers tell the processes that they start, by variables.

use crate::{ClusterError, Launch, Launcher};

/// The variables of rank and size of each launcher. Those of mpirun come first: inside of a Slurm job it is started by
/// `srun` itself, whose variables then count its helpers. `SLURM_NTASKS` is not among them: a batch script has it too.
const VARIABLES: [(Launcher, &str, &str); 4] = [
    (Launcher::OpenMpi, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    (Launcher::Mpich, "PMI_RANK", "PMI_SIZE"),
    (Launcher::Slurm, "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
    (Launcher::Torchrun, "RANK", "WORLD_SIZE"),
];

/// The variables of a process's place on its machine and of the number of processes there, of launchers that tell both.
const OF_MACHINE: [(Launcher, &str, &str); 3] = [
    (Launcher::OpenMpi, "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    (Launcher::Mpich, "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
    (Launcher::Torchrun, "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
];

/// What torchrun sets for the processes that it starts, and nobody else.
const AT_WORK: &str = "TORCHELASTIC_RUN_ID";

/// Whether torchrun has started this process; its other variables stay where it is at work no more, as in the jobs of some clusters.
#[must_use]
pub fn torchrun_is_at_work() -> bool {
    std::env::var_os(AT_WORK).is_some()
}

/// What the variables of launchers tell; nothing for one process.
///
/// # Errors
/// [`ClusterError::Variable`] for a number that is none.
pub fn launch() -> Result<Option<Launch>, ClusterError> {
    launch_of(|name| std::env::var(name).ok())
}

fn launch_of(
    variable: impl Fn(&'static str) -> Option<String>,
) -> Result<Option<Launch>, ClusterError> {
    let number = |name| {
        let read = |value: String| {
            value.trim().parse().map_err(|_| ClusterError::Variable { variable: name, value })
        };
        variable(name).map(read).transpose()
    };
    // Within a step of Slurm, or a process of mpirun, torchrun's own processes are those that compute together.
    let is_torchrun = variable(AT_WORK).is_some();
    let known = VARIABLES
        .into_iter()
        .filter(|(launcher, ..)| !is_torchrun || *launcher == Launcher::Torchrun);
    for (launcher, rank_name, size_name) in known {
        // One alone is of something else.
        let (Some(_), Some(_)) = (variable(rank_name), variable(size_name)) else { continue };
        let (Some(rank), Some(size)): (Option<usize>, Option<usize>) =
            (number(rank_name)?, number(size_name)?)
        else {
            continue;
        };
        if rank >= size {
            let value = format!("{rank}, of {size} processes");
            return Err(ClusterError::Variable { variable: rank_name, value });
        }
        let of_machine =
            OF_MACHINE.iter().find(|(of, ..)| *of == launcher).and_then(|(_, place, count)| {
                let read = |name| variable(name)?.trim().parse::<usize>().ok();
                read(place).zip(read(count)).filter(|(place, count)| place < count)
            });
        return Ok((size > 1).then_some(Launch { launcher, rank, size, of_machine }));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Option<Launch>, ClusterError> {
        launch_of(|name| {
            variables.iter().find(|(found, _)| *found == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn launchers_are_told_by_their_variables() {
        let slurm = [("SLURM_PROCID", "2"), ("SLURM_STEP_NUM_TASKS", "4")];
        let found = of(&slurm).unwrap().unwrap();
        assert_eq!(found, Launch { launcher: Launcher::Slurm, rank: 2, size: 4, of_machine: None });
        // mpirun inside of a Slurm job.
        let both =
            [&slurm[..], &[("OMPI_COMM_WORLD_RANK", "7"), ("OMPI_COMM_WORLD_SIZE", "8")]].concat();
        let found = of(&both).unwrap().unwrap();
        let expected = Launch { launcher: Launcher::OpenMpi, rank: 7, size: 8, of_machine: None };
        assert_eq!(found, expected);
        // torchrun inside of a step of Slurm.
        let inside =
            [&slurm[..], &[("RANK", "1"), ("WORLD_SIZE", "2"), (AT_WORK, "none")]].concat();
        let found = of(&inside).unwrap().unwrap();
        assert_eq!((found.launcher, found.rank, found.size), (Launcher::Torchrun, 1, 2));
        let torchrun = [("RANK", "5"), ("WORLD_SIZE", "8")];
        let places = [("LOCAL_RANK", "1"), ("LOCAL_WORLD_SIZE", "4")];
        let found = of(&[torchrun, places].concat()).unwrap().unwrap();
        assert_eq!((found.launcher, found.of_machine), (Launcher::Torchrun, Some((1, 4))));
        assert_eq!(of(&torchrun).unwrap().unwrap().of_machine, None);
        let found = of(&[("PMI_RANK", "1"), ("PMI_SIZE", "2")]).unwrap().unwrap();
        assert_eq!(found.launcher, Launcher::Mpich);
    }

    #[test]
    fn one_process_is_no_launch() {
        // A batch script of Slurm, one process of mpirun, a variable that is someone else's.
        for variables in [
            &[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "4")][..],
            &[("PMI_RANK", "0"), ("PMI_SIZE", "1")],
            &[("RANK", "3")],
            &[],
        ] {
            assert_eq!(of(variables).unwrap(), None, "{variables:?}");
        }
    }

    #[test]
    fn numbers_that_are_none_are_named() {
        for (variables, name, value) in [
            ([("PMI_RANK", "x"), ("PMI_SIZE", "2")], "PMI_RANK", "x"),
            ([("PMI_RANK", "0"), ("PMI_SIZE", "-2")], "PMI_SIZE", "-2"),
            ([("PMI_RANK", "2"), ("PMI_SIZE", "2")], "PMI_RANK", "2, of 2"),
        ] {
            let error = of(&variables).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(value), "{error}");
        }
    }
}
